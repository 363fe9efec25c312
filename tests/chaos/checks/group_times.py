"""Groups in time: who is to stop with his group stops, and a group ends soon after its last member."""

from collections.abc import Iterator
from math import inf

from tests.chaos.checks.index import ENDED, LONGEST_COMMIT_SECONDS, Index, Violation, clock, said, seconds
from tests.chaos.checks.patience import Patience
from tests.chaos.history import Transition

UNCANCELED, UNSTOPPED = "member outlived its group's cancel", "member outlived another's failure"
LATE_END = "group ended late"


def cancels(index: Index) -> Iterator[Violation]:
    """200 on the cancel of a group: its members have ended by then, and none goes on but by a client's retry.

    One that was retried while the group was open is a live member like any other.
    """
    told: dict[str, float] = {}
    for call in index.acknowledged("cancel_group"):
        told[call.group] = min(call.ended, told.get(call.group, call.ended))
    for group_id, ended in told.items():
        group = index.groups.get(group_id)
        if group is None or not group["canceled_at"]:
            yield Violation(UNCANCELED, f"group {group_id}: 200 at {clock(ended)}, and not canceled")
        closed = min(ended, _ended_at(index, group_id))
        for row in index.members[group_id]:
            for change in index.chains.get(row.id, ()):
                if _is_beyond(change, closed):
                    break
                if change.at > ended:
                    yield Violation(UNCANCELED, f"{said(change)}; group {group_id}: 200 at {clock(ended)}")


def rests(index: Index) -> Iterator[Violation]:
    """Where a failure is to stop the others, they have ended soon after it, and so has who is retried before that."""
    patience = Patience(index.history.injected)
    for group_id, members in index.members.items():
        failed_at = index.failed_at(group_id)
        if failed_at == inf or not index.stops_at_failure(group_id):
            continue
        closed = _ended_at(index, group_id)
        for row in members:
            since = failed_at
            for change in index.chains.get(row.id, ()):
                if _is_beyond(change, closed):
                    break
                if change.old == "failed":
                    since = max(since, change.at)
                elif change.at - since > patience.seconds(since, change.at):
                    evidence = f"{change.at - since:.1f} s after it was to stop with group {group_id}"
                    yield Violation(UNSTOPPED, f"{said(change)}, {evidence}")


def ends(index: Index) -> Iterator[Violation]:
    """A group ends soon after the last of its members."""
    patience = Patience(index.history.injected)
    for group_id, members in index.members.items():
        ended_at = _ended_at(index, group_id)
        chains = (index.chains.get(row.id, ()) for row in members)
        last = max(
            (change.at for chain in chains for change in chain if change.new in ENDED and change.at <= ended_at),
            default=inf,
        )
        if last < ended_at < inf and ended_at - last > patience.seconds(last, ended_at):
            evidence = f"{ended_at - last:.1f} s after its last member, at {clock(ended_at)}"
            yield Violation(LATE_END, f"group {group_id} ended {evidence}")


def _ended_at(index: Index, group_id: str) -> float:
    """Infinity for a group that has not, or is not there."""
    return seconds(index.groups.get(group_id, {}).get("ended_at")) or inf


def _is_beyond(change: Transition, closed: float) -> bool:
    """Whether it is the retry of a member that its group no longer minds, since that one has ended."""
    return change.old == "failed" and change.at > closed - LONGEST_COMMIT_SECONDS
