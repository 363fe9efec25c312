"""An end that nobody asked for is told by its reason, and what looks like none is an error."""

import signal

import pytest

from tests.chaos.process import Why, why

_DEAD = '{"event": "lease lost: this consumer was declared dead, and ends"}'
_BLOCKED = '{"event": "event loop blocked: this process ends", "stack": "..."}'
_ERROR = '{"event": "consumer ends by an error"}'


@pytest.mark.parametrize(
    ("code", "output", "reason"),
    [
        (1, _DEAD, Why.DECLARED_DEAD),
        (1, _BLOCKED, Why.WATCHDOG),
        (-signal.SIGKILL, "", Why.SIGKILL),
        (1, _ERROR, Why.BROKEN),
        (1, f"{_DEAD}\n{_ERROR}", Why.BROKEN),
        (1, "", Why.BROKEN),
        (0, _DEAD, Why.BROKEN),
        (-signal.SIGSEGV, _DEAD, Why.BROKEN),
    ],
)
def test_why_a_process_has_ended(code: int, output: str, reason: Why) -> None:
    """By its code and what it has written."""
    assert why(code, output) is reason
