"""I3: 200 on cancel means canceled for ever."""

from collections.abc import Iterator
from itertools import pairwise
from math import inf

from tests.chaos.checks.index import LONGEST_COMMIT_SECONDS, Index, Violation, clock, said
from tests.chaos.history import Outcome, Transition

OVERRIDDEN, DENIED, SEEN_LIVE = "cancel overridden", "cancel answered with another status", "canceled, then seen live"
REFUSED, UNASKED = "cancel refused of a live task", "canceled by nobody"
_CANCELED_GROUP = "canceled_group"  # code of the error of a task whose group was stopped by another's failure
_CONFLICT = frozenset({400, 409})


def cancels(index: Index) -> Iterator[Violation]:
    """After the answer nothing happens to the task any more, and nobody sees it otherwise."""
    told: dict[str, float] = {}
    for call in index.acknowledged("cancel"):
        (task,) = call.ids
        told[task] = min(call.ended, told.get(task, call.ended))
        if call.status not in {"canceled", ""}:
            yield Violation(DENIED, f"task {task} at {clock(call.ended)}: 200 and {call.status}")
    for task, ended in told.items():
        row = index.rows.get(task)
        if row is not None and row.status != "canceled":
            claim = row.claim or "-"
            yield Violation(OVERRIDDEN, f"task {task} told so at {clock(ended)} is {row.status} under claim {claim}")
        for change in index.chains.get(task, ()):
            if change.at > ended:
                yield Violation(OVERRIDDEN, f"{said(change)}, after 200 on cancel at {clock(ended)}")
    for call in index.acknowledged("read"):
        (task,) = call.ids
        if call.status not in {"canceled", ""} and call.invoked > told.get(task, call.invoked):
            times = f"told at {clock(told[task])}, read at {clock(call.invoked)}"
            yield Violation(SEEN_LIVE, f"task {task} is {call.status} in version {call.version}; {times}")


def refusals(index: Index) -> Iterator[Violation]:
    """Whoever is told that a task can't be canceled is told so of one that had completed or failed."""
    for call in index.calls["cancel"]:
        if call.code in _CONFLICT:
            chain = index.chains.get(call.ids[0], [])
            if not any(
                _has_ended(change, after, call.invoked, call.ended) for change, after in pairwise([*chain, None])
            ):
                yield Violation(REFUSED, f"task {call.ids[0]}: {call.code} at {clock(call.ended)}")


def sources(index: Index) -> Iterator[Violation]:
    """Nothing is canceled but what a client may have canceled, or its group, or where another of its group has failed.

    A task says by its error that it was the last of these.
    """
    asked: dict[str, float] = {}  # by task or group, since when
    for verb in ("cancel", "cancel_group"):
        for call in index.calls[verb]:
            if call.outcome is not Outcome.FAIL:
                about = call.group or call.ids[0]
                asked[about] = min(call.invoked, asked.get(about, inf))
    for change in index.history.transitions:
        if change.new != "canceled" or change.old == "canceled":
            continue
        group = index.rows[change.task].group if change.task in index.rows else ""
        if change.error_code == _CANCELED_GROUP:
            since = index.failed_at(group) if group and index.stops_at_failure(group) else inf
        else:
            since = min(asked.get(change.task, inf), asked.get(group, inf))
        if change.at < since:
            told = f"{change.error_code or 'no error'}, group {group or '-'}"
            asked_at = "never" if since == inf else f"at {clock(since)}"
            yield Violation(UNASKED, f"{said(change)}, {told}; there was reason for it {asked_at}")


def _has_ended(change: Transition | None, after: Transition | None, invoked: float, ended: float) -> bool:
    """Whether the task was, at some moment of the call, where this change left it, and that is an end."""
    if change is None or change.new not in {"completed", "failed"} or change.at > ended:
        return False
    return after is None or after.at > invoked - LONGEST_COMMIT_SECONDS
