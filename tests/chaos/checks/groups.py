"""Groups: complete, counted, ended when all members have, and followed by one task."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.chaos.checks.index import ENDED, Index, Row, Violation, clock, seconds
from tests.chaos.history import Outcome, Transition

INCOMPLETE, OPEN, EARLY = "group incomplete", "group open", "group ended early"
NO_THEN, MISCOUNTED, UNCANCELED = "wrong `then`", "group miscounted", "member outlived its group's cancel"

LONGEST_COMMIT_SECONDS = 2.0  # between a change, by its own time, and when others see it


def groups(index: Index) -> Iterator[Violation]:
    """All members or none; the end when all have ended; `then` once, with the counts of that moment."""
    members: dict[str, list[Row]] = defaultdict(list)
    for row in index.rows.values():
        if row.group:
            members[row.group].append(row)
    for row_id in members.keys() - index.groups.keys():
        yield Violation(INCOMPLETE, f"group {row_id} is not there, but {len(members[row_id])} members are")
    for group_id, group in index.groups.items():
        yield from _group(index, group_id, group, members[group_id])


def cancels(index: Index) -> Iterator[Violation]:
    """200 on the cancel of a group: its members have ended by then, and nothing follows."""
    for call in index.calls["cancel_group"]:
        group = index.groups.get(call.group)
        if call.outcome is Outcome.OK and group is not None and not group["canceled_at"]:
            yield Violation(UNCANCELED, f"group {call.group}: 200 at {clock(call.ended)}, and not canceled")


def _status_at(chain: Sequence[Transition], at: float) -> str:
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
        status = _status_at(index.chains.get(row.id, ()), ended_at)
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
