"""Tasks that a handler makes."""

from dataclasses import KW_ONLY
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from app.core.group import OnFailure

__all__ = ["Child", "OnFailure"]

_LONGEST_SECONDS = 315_360_000  # ten years, as in `POST /task`; a test holds the two together


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True))
class Child:
    """A task to create. `content` is what the kind takes, as JSON values or models; the rest is as in `POST /task`.

    Raises pydantic's ValidationError where an option is not what it may be. The content is looked at in `spawn`.
    """

    kind: str
    content: Any
    _: KW_ONLY
    delay_seconds: Annotated[float, Field(ge=0, le=_LONGEST_SECONDS, allow_inf_nan=False)] = 0
    priority: Literal["high", "normal", "low"] = "normal"
    max_attempts: Annotated[int | None, Field(ge=1, le=1_000)] = None
    timeout_seconds: Annotated[float | None, Field(gt=0, le=_LONGEST_SECONDS, allow_inf_nan=False)] = None
    concurrency_key: Annotated[str | None, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")] = None
    concurrency_limit: Annotated[int, Field(ge=1, le=10_000)] = 1
