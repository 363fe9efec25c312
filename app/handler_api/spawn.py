"""Tasks that a handler makes."""

from dataclasses import dataclass, field
from typing import Any, Literal

OnFailure = Literal["cancel_rest", "continue"]


@dataclass(frozen=True, slots=True)
class Child:
    """A task to create. `content` is what the kind takes, as JSON values; the rest is as in `POST /task`."""

    kind: str
    content: Any
    delay_seconds: float = field(default=0, kw_only=True)
    priority: Literal["high", "normal", "low"] = field(default="normal", kw_only=True)
    max_attempts: int | None = field(default=None, kw_only=True)
    timeout_seconds: float | None = field(default=None, kw_only=True)
    concurrency_key: str | None = field(default=None, kw_only=True)
    concurrency_limit: int = field(default=1, kw_only=True)
