"""What becomes of tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.core.events.event import Event


@dataclass(frozen=True, slots=True)
class TasksCreated(Event):
    """Committed: these tasks are kept whatever happens next."""

    task_ids: Sequence[UUID | str]


@dataclass(frozen=True, slots=True)
class TasksClaimed(Event):
    """These tasks are this consumer's now."""

    task_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class TasksCompleted(Event):
    """The handlers of these tasks ended well, and that is recorded."""

    task_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class TaskFailed(Event):
    """This task is `failed`."""

    task_id: UUID
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """An attempt at this task failed, and it is pending again, due after `seconds`."""

    task_id: UUID
    code: str
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TasksSnoozed(Event):
    """The handlers of these tasks put them off; no attempt was counted."""

    task_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class TaskReopened(Event):
    """A client had this failed task retried."""

    task_id: UUID


@dataclass(frozen=True, slots=True)
class TaskDeleted(Event):
    """A client had this task deleted, after its end."""

    task_id: UUID


@dataclass(frozen=True, slots=True)
class TasksPruned(Event):
    """So many tasks, ended longer ago than they are kept, are deleted."""

    count: int


@dataclass(frozen=True, slots=True)
class TasksCanceled(Event):
    """A client canceled these tasks."""

    task_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class ClaimLost(Event):
    """This outcome came too late: the task was canceled, or is another consumer's. It was dropped."""

    task_id: UUID


@dataclass(frozen=True, slots=True)
class TasksReleased(Event):
    """These tasks went back to pending; no attempt was burnt."""

    task_ids: Sequence[UUID]
    reason: str


@dataclass(frozen=True, slots=True)
class TasksRecovered(Event):
    """The consumer of these tasks died; they are pending again."""

    task_ids: Sequence[UUID]
