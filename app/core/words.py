"""The one place where events become words."""

import logging
from collections.abc import Iterator
from typing import Any

from app.core import events as e

LEVELS: dict[type[e.Event], int] = {
    e.TasksCreated: logging.DEBUG,
    e.TasksClaimed: logging.DEBUG,
    e.TasksCompleted: logging.DEBUG,
    e.HandlerStopped: logging.DEBUG,
    e.GroupCreated: logging.DEBUG,
    e.GroupEnded: logging.DEBUG,
    e.MembersCanceled: logging.DEBUG,
    e.TasksSnoozed: logging.DEBUG,
    e.TaskFailed: logging.WARNING,
    e.AttemptFailed: logging.WARNING,
    e.HandlerStuck: logging.ERROR,
    e.HandlerRaised: logging.ERROR,
    e.ChildStarted: logging.DEBUG,
    e.ChildKilled: logging.WARNING,
    e.ChildNotStarted: logging.ERROR,
    e.LoopBlocked: logging.ERROR,
    e.ClaimLost: logging.WARNING,
    e.TasksRecovered: logging.WARNING,
    e.LeaseLapsed: logging.ERROR,
    e.LeaseLost: logging.ERROR,
    e.StopIncomplete: logging.ERROR,
    e.QuarantineNotStarted: logging.ERROR,
    e.ScheduleTicked: logging.DEBUG,
    e.TicksMissed: logging.WARNING,
    e.ScheduleUnreadable: logging.ERROR,
    e.LimitedAlone: logging.DEBUG,
    e.ServiceDown: logging.ERROR,
    e.KeysGone: logging.ERROR,
    e.KeysUnreadable: logging.ERROR,
}

Line = tuple[str, dict[str, Any]]


def lines(event: e.Event) -> Iterator[Line]:  # noqa: C901, PLR0912, PLR0915 - one case an event, as a table of words
    """The lines of an event, each with its fields."""
    match event:
        case e.TasksCreated(ids):
            yield from _each("task created", ids)
        case e.TasksClaimed(ids):
            yield from _each("task processing", ids)
        case e.TasksCompleted(ids):
            yield from _each("task completed", ids)
        case e.TasksCanceled(ids):
            yield from _each("task canceled", ids)
        case e.GroupCreated(group_id, total):
            yield "group created", {"group_id": str(group_id), "total": total}
        case e.GroupCanceled(group_id):
            yield "group canceled", {"group_id": str(group_id)}
        case e.MembersCanceled(ids):
            yield from _each("task canceled with its group", ids)
        case e.GroupEnded(group_id, completed, failed, canceled):
            counts = {"completed": completed, "failed": failed, "canceled": canceled}
            yield "group ended", {"group_id": str(group_id), **counts}
        case e.TasksRecovered(ids):
            yield from _each("task recovered: its consumer died, it is pending again", ids)
        case e.TasksReleased(ids, reason):
            yield from _each("task released: pending again", ids, reason=reason)
        case e.TaskFailed(task_id, code, message):
            yield "task failed", {"task_id": str(task_id), "code": code, "error": message}
        case e.AttemptFailed(task_id, code, message, seconds):
            fields = {"task_id": str(task_id), "code": code, "error": message, "retry_after_seconds": round(seconds, 3)}
            yield "attempt failed: pending again", fields
        case e.TasksSnoozed(ids):
            yield from _each("task snoozed: pending again", ids)
        case e.TaskReopened(task_id):
            yield "failed task retried: pending again", {"task_id": str(task_id)}
        case e.TaskDeleted(task_id):
            yield "task deleted", {"task_id": str(task_id)}
        case e.TasksPruned(count):
            yield "old tasks deleted", {"tasks": count}
        case e.GroupsPruned(count):
            yield "old groups deleted", {"groups": count}
        case e.HandlerStuck(task_id, stack):
            yield "handler does not stop: its slot was taken back", {"task_id": str(task_id), "stack": stack}
        case e.HandlerStopped(task_id, reason):
            yield "handler stopped", {"task_id": str(task_id), "reason": reason}
        case e.HandlerRaised(task_id, error):
            yield "handler raised", {"task_id": str(task_id), "exc_info": error}
        case e.ChildStarted(pid, seconds):
            yield "child process started", {"pid": pid, "seconds": round(seconds, 3)}
        case e.ChildReplaced(pid, reason):
            yield "child process replaced", {"pid": pid, "reason": reason}
        case e.ChildKilled(pid, task_id):
            yield "child process killed: its handler did not stop", {"task_id": str(task_id), "pid": pid}
        case e.ChildNotStarted(reason):
            yield "a child process does not start; trying on", {"error": reason}
        case e.LoopBlocked(seconds, stack):
            yield "event loop blocked: this process ends", {"seconds": round(seconds, 1), "stack": stack}
        case e.ClaimLost(task_id):
            yield "outcome dropped: the task is no longer ours", {"task_id": str(task_id)}
        case e.ConsumerStarted(consumer_id, concurrency, is_quarantine):
            name = "quarantine consumer, for tasks that were lost twice," if is_quarantine else "consumer"
            yield f"{name} started", {"consumer_id": str(consumer_id), "concurrency": concurrency}
        case e.ConsumerDraining(running):
            yield "consumer draining", {"running": running}
        case e.ConsumerStopped():
            yield "consumer stopped", {}
        case e.StopIncomplete(reason):
            yield "not all was given back: it is recovered when the lease ends", {"error": reason}
        case e.QuarantineNotStarted(reason):
            yield "the quarantine consumer does not start; trying on", {"error": reason}
        case e.LeaseLapsed(running, reason):
            yield "lease lapsed: no beat got through, handlers stopped", {"stopped": running, "error": reason}
        case e.LeaseLost():
            yield "lease lost: this consumer was declared dead, and ends", {}
        case e.LeaseRegained():
            yield "lease regained", {}
        case e.ScheduleTicked(schedule, task_id, tick):
            yield "schedule ticked: task created", {"task_id": str(task_id), "schedule": schedule, "tick": tick}
        case e.TicksMissed(schedule, first, last):
            yield "schedule missed ticks", {"schedule": schedule, "first": first, "last": last}
        case e.ScheduleUnreadable(schedule, reason):
            yield "schedule can't be read: its ticks wait", {"schedule": schedule, "error": reason}
        case e.KeysTakenUp(count):
            yield "API keys taken up", {"valid": count}
        case e.KeysGone(file):
            yield "API keys are gone: every request that needs one is refused", {"file": file}
        case e.KeysUnreadable(reason):
            yield "API keys can't be read: those of before stay valid", {"error": reason}
        case e.ServiceDown(service, doing, reason):
            yield f"{service} does not answer while {doing}; trying on", {"error": reason}
        case e.LimitedAlone(count):
            yield "rates limited without redis", {"requests": count}
        case e.ServiceUp(service, doing):
            yield f"{service} answers again, {doing}", {}
        case _:
            raise AssertionError(event)


def _each(message: str, ids: Any, **fields: Any) -> Iterator[Line]:
    for task_id in ids:
        yield message, {"task_id": str(task_id), **fields}
