"""States: every task goes from one to the next as it may, terminal is final, and its row is where its history ends."""

from collections.abc import Iterator

from tests.chaos.checks.index import ENDED, Index, Violation, said
from tests.chaos.history import Outcome, Transition

ILLEGAL, BROKEN, OVERWRITTEN = "illegal move", "broken chain", "terminal overwritten"
NO_RETRY, TOO_MANY, ELSEWHERE, STUCK = "retry without effect", "reopened by nobody", "row differs", "stuck"

_MOVES = frozenset(
    {("", "pending"), ("pending", "processing"), ("pending", "canceled"), ("failed", "pending")}
    | {("processing", new) for new in ("completed", "failed", "canceled", "pending")}
)


def moves(index: Index) -> Iterator[Violation]:
    """I2: each transition is a legal one, and begins where the one before it ended."""
    for chain in index.chains.values():
        status, claim, version = "", "", 0
        for change in chain:
            if (change.old, change.old_claim) != (status, claim):
                yield Violation(BROKEN, f"{said(change)}, but it was {status or 'nothing'} under claim {claim or '-'}")
            if change.old in ENDED and not _is_reopened(change):
                yield Violation(OVERWRITTEN, said(change))
            elif (change.old, change.new) not in _MOVES:
                yield Violation(ILLEGAL, said(change))
            if change.old and change.version <= version:
                yield Violation(BROKEN, f"{said(change)}, in version {change.version} after {version}")
            status, claim, version = change.new, change.claim, change.version


def retries(index: Index) -> Iterator[Violation]:
    """A failed task is reopened by a client's retry only, and as often as clients were told so."""
    told: dict[str, int] = {}
    possible: dict[str, int] = {}
    for call in index.calls["retry"]:
        for task in call.ids:
            told[task] = told.get(task, 0) + (call.outcome is Outcome.OK)
            possible[task] = possible.get(task, 0) + (call.outcome is not Outcome.FAIL)
    for task, chain in index.chains.items():
        reopened = [change for change in chain if change.old == "failed"]
        if len(reopened) > possible.get(task, 0):
            yield Violation(TOO_MANY, f"{said(reopened[-1])}: {possible.get(task, 0)} retries, {len(reopened)} times")
        if len(reopened) < told.get(task, 0):
            yield Violation(NO_RETRY, f"task {task}: {told[task]} times 200 on retry, reopened {len(reopened)} times")


def last_rows(index: Index) -> Iterator[Violation]:
    """I5 and the audit itself: at the end all that is due has ended, and each row is what its last transition left.

    Nobody deletes tasks here, and nothing is old enough to be pruned.
    """
    for row in index.rows.values():
        chain = index.chains.get(row.id)
        last = chain[-1] if chain else None
        is_as_left = last and (last.new, last.claim, last.attempt, last.lost_count) == row[2:6]
        if not is_as_left:
            shown = said(last) if last else "no transition"
            yield Violation(ELSEWHERE, f"task {row.id} is {row.status} under {row.claim or '-'}; last: {shown}")
        elif last and row.version < last.version:
            yield Violation(ELSEWHERE, f"task {row.id} has version {row.version}; last: {said(last)}")
        if row.status not in ENDED and row.run_at <= index.now:
            yield Violation(STUCK, f"task {row.id} ({row.kind}) is still {row.status} when all has settled")
    for task in index.chains.keys() - index.rows.keys():
        yield Violation(ELSEWHERE, f"task {task} is gone; last: {said(index.chains[task][-1])}")


def _is_reopened(change: Transition) -> bool:
    return (change.old, change.new, change.attempt, change.lost_count, change.claim) == ("failed", "pending", 0, 0, "")
