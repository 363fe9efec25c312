"""What happens, as types. The flow emits them; core/logging.py turns them into lines."""

from app.core.events.consumer import (
    ConsumerDraining,
    ConsumerStarted,
    ConsumerStopped,
    LeaseLapsed,
    LeaseLost,
    LeaseRegained,
    QuarantineNotStarted,
    StopIncomplete,
)
from app.core.events.event import Emit, Event
from app.core.events.group import GroupCanceled, GroupCreated, GroupEnded, MembersCanceled
from app.core.events.handler import (
    ChildKilled,
    ChildNotStarted,
    ChildReplaced,
    ChildStarted,
    HandlerRaised,
    HandlerStopped,
    HandlerStuck,
    LoopBlocked,
)
from app.core.events.keys import KeysGone, KeysTakenUp, KeysUnreadable
from app.core.events.schedule import ScheduleTicked, ScheduleUnreadable, TicksMissed
from app.core.events.server import ServiceDown, ServiceUp
from app.core.events.task import (
    AttemptFailed,
    ClaimLost,
    TaskFailed,
    TaskReopened,
    TasksCanceled,
    TasksClaimed,
    TasksCompleted,
    TasksCreated,
    TasksRecovered,
    TasksReleased,
    TasksSnoozed,
)

__all__ = [
    "AttemptFailed",
    "ChildKilled",
    "ChildNotStarted",
    "ChildReplaced",
    "ChildStarted",
    "ClaimLost",
    "ConsumerDraining",
    "ConsumerStarted",
    "ConsumerStopped",
    "Emit",
    "Event",
    "GroupCanceled",
    "GroupCreated",
    "GroupEnded",
    "HandlerRaised",
    "HandlerStopped",
    "HandlerStuck",
    "KeysGone",
    "KeysTakenUp",
    "KeysUnreadable",
    "LeaseLapsed",
    "LeaseLost",
    "LeaseRegained",
    "LoopBlocked",
    "MembersCanceled",
    "QuarantineNotStarted",
    "ScheduleTicked",
    "ScheduleUnreadable",
    "ServiceDown",
    "ServiceUp",
    "StopIncomplete",
    "TaskFailed",
    "TaskReopened",
    "TasksCanceled",
    "TasksClaimed",
    "TasksCompleted",
    "TasksCreated",
    "TasksRecovered",
    "TasksReleased",
    "TasksSnoozed",
    "TicksMissed",
]
