"""The one place where events become counters. docs/metrics.md is checked against this file by a test."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.core import events as e
from app.core.task import ErrorCode


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter, shown as `taskmill_<name>_total`: 1 an event, or as many as the event has tasks.

    `labels`: fields of the event; their values must be few, since each is a time series. `codes`: values of the only
    label that are there from the start, at 0, so that also the first of them shows as an increase.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


_CODES = tuple(ErrorCode)
_CREATED = Counted("tasks_created", "Tasks kept, from requests, groups, schedules and handlers.")

COUNTED: Mapping[type[e.Event], tuple[Counted, ...]] = {
    e.TasksCreated: (_CREATED,),
    e.TasksClaimed: (Counted("tasks_claimed", "Tasks taken by a consumer, each time."),),
    e.TasksCompleted: (Counted("tasks_completed", "Tasks that ended as completed."),),
    e.TaskFailed: (
        Counted("tasks_failed", "Tasks that ended as failed, by the code of the last error.", ("code",), _CODES),
    ),
    e.TasksCanceled: (Counted("tasks_canceled", "Tasks that a client canceled."),),
    e.MembersCanceled: (Counted("tasks_canceled_with_group", "Tasks canceled with their group."),),
    e.AttemptFailed: (
        Counted(
            "attempts_failed", "Attempts that failed and are tried again, by the code of the error.", ("code",), _CODES
        ),
    ),
    e.TasksSnoozed: (Counted("tasks_snoozed", "Tasks that their handler put off."),),
    e.TaskDeleted: (Counted("tasks_deleted", "Ended tasks that a client deleted."),),
    e.TasksPruned: (Counted("tasks_pruned", "Ended tasks deleted since they were old."),),
    e.TaskReopened: (Counted("tasks_retried", "Failed tasks that a client had retried."),),
    e.TasksReleased: (Counted("tasks_released", "Tasks that a consumer gave back, no attempt burnt."),),
    e.TasksRecovered: (Counted("tasks_recovered", "Tasks taken back from dead consumers."),),
    e.ClaimLost: (Counted("claims_lost", "Outcomes dropped: the task was canceled, or another consumer's."),),
    e.GroupCreated: (Counted("groups_created", "Groups kept."),),
    e.GroupCanceled: (Counted("groups_canceled", "Groups that a client canceled."),),
    e.GroupEnded: (Counted("groups_ended", "Groups whose members have all ended."),),
    e.GroupsPruned: (Counted("groups_pruned", "Ended groups deleted since they were old."),),
    e.ScheduleTicked: (Counted("schedule_ticks", "Ticks of schedules that made their task."), _CREATED),
    e.TicksMissed: (Counted("schedule_misses", "Times that ticks of a schedule, one or more, were missed."),),
    e.ScheduleUnreadable: (Counted("schedules_unreadable", "Schedules that this release could not read."),),
    e.HandlerRaised: (Counted("handlers_raised", "Runs of handlers that ended with an exception."),),
    e.HandlerStopped: (Counted("handlers_stopped", "Runs of handlers that were told to stop, and did."),),
    e.HandlerStuck: (Counted("handlers_stuck", "Runs of handlers that did not stop when told to."),),
    e.ChildStarted: (Counted("child_processes_started", "Child processes started."),),
    e.ChildReplaced: (Counted("child_processes_replaced", "Child processes that ended and were replaced."),),
    e.ChildKilled: (Counted("child_processes_killed", "Child processes killed, since their handler did not stop."),),
    e.ChildNotStarted: (Counted("child_process_start_failures", "Starts of child processes that failed."),),
    e.LoopBlocked: (Counted("loops_blocked", "Consumers ended because a handler blocked their event loop."),),
    e.ConsumerStarted: (Counted("consumers_started", "Starts of consumers."),),
    e.ConsumerDraining: (Counted("consumers_draining", "Consumers told to stop."),),
    e.ConsumerStopped: (Counted("consumers_stopped", "Consumers that stopped in order."),),
    e.StopIncomplete: (Counted("consumers_stopped_incomplete", "Stops after which tasks have to be recovered."),),
    e.QuarantineNotStarted: (Counted("quarantine_start_failures", "Starts of quarantine consumers that failed."),),
    e.LeaseLapsed: (Counted("leases_lapsed", "Leases that no beat got through to renew: handlers stopped."),),
    e.LeaseRegained: (Counted("leases_regained", "Lapsed leases that a beat renewed after all."),),
    e.LeaseLost: (Counted("leases_lost", "Consumers declared dead that lived."),),
    e.KeysTakenUp: (Counted("keys_file_changes", "Changes of KEYS_FILE that were taken up."),),
    e.KeysGone: (Counted("keys_file_losses", "Times that KEYS_FILE was found without any key."),),
    e.KeysUnreadable: (Counted("keys_file_errors", "Changes of KEYS_FILE that could not be read."),),
    e.LimitedAlone: (
        Counted("requests_limited_alone", "Requests whose rate one process counted alone: Redis was away or late."),
    ),
    e.ServiceDown: (Counted("service_outages", "Outages as each user of a service saw them.", ("service", "doing")),),
    e.ServiceUp: (Counted("service_recoveries", "Outages that ended.", ("service", "doing")),),
}
