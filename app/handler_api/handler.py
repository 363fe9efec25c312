"""A handler: the function that does the work of one kind of task."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast

from app.handler_api.context import Options, TaskContext
from app.handler_api.payload import Payload

PayloadT = TypeVar("PayloadT", bound=Payload)
OptionsT = TypeVar("OptionsT", bound=Options)

LONGEST_SECONDS = 315_360_000  # ten years

_NO_OPTIONS = cast("Any", Options)  # typed by what `run` asks for


@dataclass(frozen=True, slots=True)
class Handler(Generic[PayloadT, OptionsT]):
    """Binds a payload type to the coroutine function that works on it.

    `run` returns an Outcome, or any JSON value, which is the result. An exception is a failed attempt.

    The task is canceled by cancelling `run` at its current `await`: let CancelledError pass. A handler that computes or
    blocks for longer than some milliseconds declares `isolation="process"`: it runs in a process of its own, which a
    cancel or a timeout ends.

    `max_attempts` and `timeout_seconds` (None: no limit) are for tasks that say nothing else. Between attempts lie, at
    random, up to `retry_base_seconds` doubled at each failure, at most `retry_cap_seconds`. `queue`: consumers can be
    told to serve only some (CONSUMER_QUEUES). `is_internal`: only Taskmill itself makes tasks of this kind;
    whoever else asks for one, be it a client, a schedule or a handler, is refused.
    """

    payload: type[PayloadT]
    run: Callable[[PayloadT, TaskContext[OptionsT]], Awaitable[Any]]
    options: type[OptionsT] = _NO_OPTIONS
    max_attempts: int = 5
    timeout_seconds: float | None = None
    retry_base_seconds: float = 2
    retry_cap_seconds: float = 600
    queue: str = "default"
    isolation: Literal["loop", "process"] = "loop"
    is_internal: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that make no sense: when the module is loaded, and not when a task runs."""
        if self.max_attempts < 1:
            raise ValueError(f"{self.kind}: max_attempts must be at least 1")
        for name in ("timeout_seconds", "retry_base_seconds", "retry_cap_seconds"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 <= seconds <= LONGEST_SECONDS:
                raise ValueError(f"{self.kind}: {name} must be from 0 to {LONGEST_SECONDS}")
        if self.isolation not in {"loop", "process"}:
            raise ValueError(f"{self.kind}: isolation must be 'loop' or 'process'")
        if not inspect.iscoroutinefunction(self.run) and not inspect.iscoroutinefunction(type(self.run).__call__):
            raise ValueError(f"{self.kind}: run must be an `async def`; with isolation='process' it may block")
        if not self.queue.strip() or "," in self.queue or self.queue == "*":
            raise ValueError(f"{self.kind}: a queue is a name without commas")

    @property
    def kind(self) -> str:
        """The kind of task that this handler takes."""
        return self.payload.kind
