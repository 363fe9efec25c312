"""I3: 200 on cancel means canceled for ever."""

from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.checks.index import LONGEST_COMMIT_SECONDS, Index, Violation, clock, said
from tests.chaos.history import Transition

OVERRIDDEN, DENIED, SEEN_LIVE = "cancel overridden", "cancel answered with another status", "canceled, then seen live"
REFUSED = "cancel refused of a live task"
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


def _has_ended(change: Transition | None, after: Transition | None, invoked: float, ended: float) -> bool:
    """Whether the task was, at some moment of the call, where this change left it, and that is an end."""
    if change is None or change.new not in {"completed", "failed"} or change.at > ended:
        return False
    return after is None or after.at > invoked - LONGEST_COMMIT_SECONDS
