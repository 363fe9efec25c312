"""A handler: the function that does the work of one kind of task."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.handler_api.context import Options, TaskContext
from app.handler_api.outcome import Outcome
from app.handler_api.payload import Payload

PayloadT = TypeVar("PayloadT", bound=Payload)
OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True, slots=True)
class Handler(Generic[PayloadT, OptionsT]):
    """Binds a payload type to the coroutine function that works on it.

    The task is canceled by cancelling `run` at its current `await`: let CancelledError pass.
    """

    payload: type[PayloadT]
    options: type[OptionsT]
    run: Callable[[PayloadT, TaskContext[OptionsT]], Awaitable[Outcome]]

    @property
    def kind(self) -> str:
        """The kind of task that this handler takes."""
        return self.payload.kind
