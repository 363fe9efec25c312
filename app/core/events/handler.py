"""What handlers do, in their consumer or in a child process."""

from dataclasses import dataclass
from uuid import UUID

from app.core.events.event import Event


@dataclass(frozen=True, slots=True)
class HandlerStopped(Event):
    """The handler of a running task was told to stop, and did."""

    task_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class HandlerRaised(Event):
    """A handler ended with an exception it should have caught; the traceback is for its author."""

    task_id: UUID
    error: BaseException


@dataclass(frozen=True, slots=True)
class HandlerStuck(Event):
    """A handler that was told to stop does not, for so long that its slot was taken back; its writes are void."""

    task_id: UUID
    stack: str


@dataclass(frozen=True, slots=True)
class ChildStarted(Event):
    """A child process for isolated handlers is ready for its first task, `seconds` after it was asked for."""

    pid: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ChildReplaced(Event):
    """A child process ended, and another is started in its place."""

    pid: int
    reason: str


@dataclass(frozen=True, slots=True)
class ChildKilled(Event):
    """A child process that was told to stop did not, and was killed; its handler ran this task."""

    pid: int
    task_id: UUID


@dataclass(frozen=True, slots=True)
class ChildNotStarted(Event):
    """A child process could not be started; it is tried again, and no attempt is counted."""

    error: str


@dataclass(frozen=True, slots=True)
class LoopBlocked(Event):
    """The event loop did not answer for `seconds`; this process ends, and others recover its tasks. Where it stood."""

    seconds: float
    stack: str
