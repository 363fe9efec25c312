"""Groups: complete, counted, ended when all members have, and followed by one task."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.chaos.checks.index import (
    ENDED,
    LONGEST_COMMIT_SECONDS,
    Index,
    Row,
    Violation,
    clock,
    seconds,
    status_at,
)
from tests.chaos.history import STATUSES, Transition

INCOMPLETE, OPEN, EARLY = "group incomplete", "group open", "group ended early"
NO_THEN, MISCOUNTED, MISREAD = "wrong `then`", "group miscounted", "group read with wrong counts"


def groups(index: Index) -> Iterator[Violation]:
    """All members or none; the end when all have ended; `then` once, with the counts of that moment."""
    for group_id in index.members.keys() - index.groups.keys():
        yield Violation(INCOMPLETE, f"group {group_id} is not there, but {len(index.members[group_id])} members are")
    for group_id, group in index.groups.items():
        yield from _group(index, group_id, group, index.members[group_id])


def reads(index: Index) -> Iterator[Violation]:
    """Each answer counts all members once, as they were at some moment of the call; that to a cancel none as live."""
    for call in index.acknowledged("read_group", "cancel_group"):
        if not call.counts:
            continue
        total, *counts = call.counts
        begun, ended = call.invoked - LONGEST_COMMIT_SECONDS, call.ended
        chains = [index.chains.get(row.id, ()) for row in index.members[call.group]]
        fixed = Counter(status_at(chain, ended) for chain in chains if not _changes(chain, begun, ended))
        real = f"{total - fixed.total()} of {total} changing, the others {dict(fixed)}"
        is_possible = all(count >= fixed[status] for status, count in zip(STATUSES, counts, strict=True))
        shown = dict(zip(STATUSES, counts, strict=True))
        if call.verb == "cancel_group" and shown["pending"] + shown["processing"]:
            is_possible = is_possible and any(_is_retried(chain, begun, ended) for chain in chains)
        if sum(counts) != total or total != len(chains) or not is_possible or fixed["not there"]:
            text = f"{call.verb} at {clock(ended)} shows {shown} of {total}"
            yield Violation(MISREAD, f"group {call.group}: {text}; {real}")


def _changes(chain: Sequence[Transition], begun: float, ended: float) -> bool:
    return any(begun <= change.at <= ended for change in chain)


def _is_retried(chain: Sequence[Transition], begun: float, ended: float) -> bool:
    return any(begun <= change.at <= ended and change.old == "failed" for change in chain)


def _status_at_end(chain: Sequence[Transition], at: float) -> str:
    """Of a member when its group has ended. A client's retry that was committed only after that is none before."""
    status = "not there"
    for change in chain:
        if change.at <= at - (LONGEST_COMMIT_SECONDS if change.old == "failed" else 0):
            status = change.new
    return status


def _group(index: Index, group_id: str, group: Mapping[str, Any], members: list[Row]) -> Iterator[Violation]:
    if len(members) != group["total"]:
        yield Violation(INCOMPLETE, f"group {group_id} has {len(members)} of {group['total']} members")
    ended_at = seconds(group["ended_at"])
    if not ended_at:
        if all(row.status in ENDED for row in members):
            yield Violation(OPEN, f"group {group_id}: all {len(members)} members have ended")
        return
    at_end: Counter[str] = Counter()
    for row in members:
        status = _status_at_end(index.chains.get(row.id, ()), ended_at)
        at_end[status] += 1
        if status not in ENDED:
            yield Violation(EARLY, f"group {group_id} at {clock(ended_at)}, when member {row.id} was {status}")
    then_id = str(group["then_id"] or "")
    if not then_id:
        return
    then = index.rows.get(then_id)
    if (then is None) != bool(group["canceled_at"]):
        state = "canceled" if group["canceled_at"] else "ended"
        yield Violation(NO_THEN, f"group {group_id} was {state}, and task {then_id} is {then and then.status}")
    if then is not None:
        told = then.content["group"]
        real = {"id": group_id, "total": len(members)} | {status: at_end[status] for status in sorted(ENDED)}
        if told != real:
            yield Violation(MISCOUNTED, f"task {then_id} was told {told}, and it was {real}")
