"""What becomes of schedules."""

from dataclasses import dataclass
from uuid import UUID

from app.core.events.event import Event


@dataclass(frozen=True, slots=True)
class ScheduleTicked(Event):
    """A schedule made a task for its tick at this time (ISO 8601)."""

    schedule: str
    task_id: UUID
    tick: str


@dataclass(frozen=True, slots=True)
class TicksMissed(Event):
    """Nobody was there for the ticks of a schedule from the first to the last of these times (ISO 8601)."""

    schedule: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class ScheduleUnreadable(Event):
    """This release can't make sense of a schedule in the table; its ticks wait for one that can. Said once."""

    schedule: str
    error: str
