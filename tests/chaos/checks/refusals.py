"""Refusals: who is told that he can't, could not; and nobody is told so always.

Creates are none of these: nothing is wrong with what the clients send, so the driver takes each refusal for an error.
"""

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

from tests.chaos.checks.index import (
    CREATES,
    LONGEST_COMMIT_SECONDS,
    Index,
    Violation,
    clock,
    seconds,
    status_at,
)
from tests.chaos.checks.reads import NOT_FOUND
from tests.chaos.history import Call, Outcome

UNFOUNDED, NEVER = "refused without a reason", "never granted"
_MANY = 50  # calls, of which one at least must have been granted


def refusals(index: Index) -> Iterator[Violation]:
    """A 4xx has its reason in the history; for most calls there is none that could be.

    That a task or group is not found is judged by checks/reads.py.
    """
    for call in index.history.calls:
        is_of_one = bool(call.ids or call.group)
        if call.outcome is Outcome.FAIL and call.verb not in CREATES and not (is_of_one and call.code == NOT_FOUND):
            reason = _REASONS.get(call.verb)
            if reason is None or not reason(index, call):
                about = call.marker or call.group or ", ".join(call.ids)
                yield Violation(UNFOUNDED, f"{call.verb} of {about}: {call.code} at {clock(call.ended)}")


def granted(index: Index) -> Iterator[Violation]:
    """So that no rule about what follows an answer holds for want of answers."""
    for verb, calls in index.calls.items():
        if len(calls) >= _MANY and all(call.outcome is not Outcome.OK for call in calls):
            yield Violation(NEVER, f"{verb}, of {len(calls)} calls")


def _is_judged(_: Index, call: Call) -> bool:
    return call.code in {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}  # by checks/cancels.py


def _was_not_failed(index: Index, call: Call) -> bool:
    """Whether the task was, at some moment of the call, anything but failed."""
    chain = index.chains.get(call.ids[0], [])
    begun = call.invoked - LONGEST_COMMIT_SECONDS
    seen = {status_at(chain, begun), *(change.new for change in chain if begun < change.at <= call.ended)}
    return call.code == HTTPStatus.CONFLICT and seen != {"failed"}


def _has_ended(index: Index, call: Call) -> bool:
    """Whether the group had come to its end by itself."""
    group = index.groups.get(call.group, {})
    ended_at = seconds(group.get("ended_at"))
    return call.code == HTTPStatus.BAD_REQUEST and not group.get("canceled_at") and 0 < ended_at <= call.ended


def _may_be_deleted(index: Index, call: Call) -> bool:
    deleted = (each.invoked for each in index.calls["delete_schedule"] if each.marker == call.marker)
    return call.code == NOT_FOUND and any(invoked < call.invoked for invoked in deleted)


_REASONS: Mapping[str, Callable[[Index, Call], bool]] = {
    "cancel": _is_judged,
    "retry": _was_not_failed,
    "cancel_group": _has_ended,
    "schedule": _may_be_deleted,
    "delete_schedule": _may_be_deleted,
}
