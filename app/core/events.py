"""What happens, as types. The flow emits them; core/logging.py turns them into lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True, slots=True)
class TasksCreated(Event):
    """Committed: these tasks are kept whatever happens next."""

    task_ids: Sequence[UUID]


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
class TasksCanceled(Event):
    """A client canceled these tasks."""

    task_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class GroupCreated(Event):
    """Committed: this group and its members."""

    group_id: UUID
    total: int


@dataclass(frozen=True, slots=True)
class GroupCanceled(Event):
    """A client canceled this group."""

    group_id: UUID


@dataclass(frozen=True, slots=True)
class MembersCanceled(Event):
    """These tasks were canceled with their group: a client canceled it, or another member failed."""

    task_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class GroupEnded(Event):
    """All members of this group have ended."""

    group_id: UUID
    completed: int
    failed: int
    canceled: int


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
    """The process for suspects could not be started; the next beat tries again."""

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


@dataclass(frozen=True, slots=True)
class ServiceDown(Event):
    """PostgreSQL or Redis does not answer. Said once an outage, by each user of it."""

    service: str
    doing: str
    error: str


@dataclass(frozen=True, slots=True)
class ServiceUp(Event):
    """PostgreSQL or Redis answers again."""

    service: str
    doing: str


Emit = Callable[[Event], None]
