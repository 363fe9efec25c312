"""What a handler may be declared with."""

from typing import Any

import pytest

from app.handler_api.handler import Handler
from app.handler_api.outcome import Done
from app.handler_api.payload import Payload


class Count(Payload, kind="simulate"):
    """The payload of these tests."""

    count: int


async def _ends(_: Count, __: object) -> Done:
    return Done()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"timeout_seconds": float("inf")},
        {"timeout_seconds": -1},
        {"retry_base_seconds": float("nan")},
        {"isolation": "thread"},
        {"queue": "a,b"},
    ],
)
def test_a_handler_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """When its module is loaded, and not when a task runs."""
    with pytest.raises(ValueError, match=f"simulate: .*{next(iter(wrong))}"):
        Handler(Count, _ends, **wrong)
