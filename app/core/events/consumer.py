"""A consumer's life."""

from dataclasses import dataclass
from uuid import UUID

from app.core.events.event import Event


@dataclass(frozen=True, slots=True)
class ConsumerStarted(Event):
    """A consumer holds a lease and starts to claim."""

    consumer_id: UUID
    concurrency: int
    is_quarantine: bool


@dataclass(frozen=True, slots=True)
class ConsumerDraining(Event):
    """A consumer was told to stop: it claims no more and lets running tasks finish."""

    running: int


@dataclass(frozen=True, slots=True)
class ConsumerStopped(Event):
    """A consumer has ended in order."""


@dataclass(frozen=True, slots=True)
class StopIncomplete(Event):
    """A consumer ended without having given back everything; that is recovered when its lease ends."""

    error: str


@dataclass(frozen=True, slots=True)
class QuarantineNotStarted(Event):
    """The process for suspects could not be started; the next sweep tries again."""

    error: str


@dataclass(frozen=True, slots=True)
class LeaseLapsed(Event):
    """No beat got through for nearly a lease: running handlers are stopped, since others may take their tasks."""

    running: int
    error: str


@dataclass(frozen=True, slots=True)
class LeaseRegained(Event):
    """A beat got through again, before anybody declared this consumer dead."""


@dataclass(frozen=True, slots=True)
class LeaseLost(Event):
    """This consumer was declared dead: its tasks are others', and it ends."""
