"""Why a task is not running."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.core.task import Task

MOST_COUNTED = 10_000


class Reason(StrEnum):
    """The set is closed; docs/queues.md says what each means. Of several, the first is told."""

    ENDED = "ended"
    RUNNING = "running"
    RETRY = "waits_for_retry"
    LATER = "due_later"
    PAUSED = "queue_paused"
    NO_CONSUMER = "no_consumer"
    LIMIT = "limit_reached"
    QUARANTINE = "runs_alone"
    IN_LINE = "in_line"


@dataclass(frozen=True, slots=True)
class Holder:
    """A live consumer process."""

    id: UUID
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Place:
    """What stands between a task and its concurrency key's next place.

    `held` and `ahead` are counted up to MOST_COUNTED + 1; `held_by` are the first of those that hold a place, with
    their tenants.
    """

    key: str
    limit: int
    held: int
    held_by: list[tuple[UUID, str | None]]
    ahead: int


@dataclass(frozen=True, slots=True)
class Why:
    """What holds a task back in one snapshot of the database, taken at `at`.

    `ahead`: tasks that its queue's consumers take first, counted up to MOST_COUNTED + 1. `seconds`: how long they take
    at the rate of now; None where none has ended lately.
    """

    reason: Reason
    task: Task
    at: datetime
    consumer: Holder | None = None
    paused_at: datetime | None = None
    place: Place | None = None
    ahead: int | None = None
    seconds: float | None = None
