"""Claims: each is used once, and only its holder finishes, gives back or writes."""

from collections.abc import Iterator

from tests.chaos.checks.index import Index, Row, Violation, clock, said
from tests.chaos.history import Transition

REUSED, UNCLAIMED, FOREIGN, STALE = "claim used twice", "no claim", "claim of another", "stale finish"
TWO_STARTS, UNKNOWN_RUN, NO_END = "two runs under a claim", "run without a claim", "completed without its run"
MISCOUNTED = "miscounted"
MAX_LOST = 3


def fresh(index: Index) -> Iterator[Violation]:
    """Each claim makes an id of its own and counts an attempt."""
    used: set[str] = set()
    for change in index.history.transitions:
        if change.new == "processing":
            if not change.claim or not change.consumer:
                yield Violation(UNCLAIMED, said(change))
            elif change.claim in used:
                yield Violation(REUSED, said(change))
            used.add(change.claim)


def held(index: Index) -> Iterator[Violation]:
    """I4: whatever takes a task out of `processing` leaves the claim that it had, or none; and counts what it must."""
    for chain in index.chains.values():
        attempt = lost = 0
        for change in chain:
            if change.old == "processing" and change.claim not in {change.old_claim, ""}:
                yield Violation(FOREIGN, said(change))
            if (change.attempt, change.lost_count) not in _counts(change, attempt, lost):
                yield Violation(MISCOUNTED, f"{said(change)}, after attempt {attempt}, lost {lost}")
            attempt, lost = change.attempt, change.lost_count


def _counts(change: Transition, attempt: int, lost: int) -> list[tuple[int, int]]:
    """What attempt and lost_count may be after it."""
    same, recovered = (attempt, lost), (attempt, lost + 1)
    match change.old, change.new:
        case "pending", "processing":
            return [(attempt + 1, lost)]
        case "processing", "pending":  # recovered or released; tried again or put off
            return [recovered, (attempt - 1, lost)] if not change.claim else [same, (attempt - 1, lost)]
        case "processing", "failed":
            return [recovered] if change.error_code == "consumer_lost" and lost + 1 == MAX_LOST else [same]
        case ("", _) | ("failed", _):
            return [(0, 0)]
        case _:
            return [same]


def runs(index: Index) -> Iterator[Violation]:
    """A claim is run once at most, by whoever got it."""
    claimed = {change.claim: change for change in index.history.transitions if change.new == "processing"}
    for claim, sides in index.runs.items():
        starts = [run for run in sides if run.phase == "start"]
        where = ", ".join(f"pid {run.pid} at {clock(run.at)}" for run in starts)
        if len(starts) > 1:
            yield Violation(TWO_STARTS, f"claim {claim} of task {starts[0].task}: {where}")
        for run in starts:
            change = claimed.get(claim)
            if change is None or (change.task, change.attempt) != (run.task, run.attempt):
                known = said(change) if change else "never claimed"
                yield Violation(UNKNOWN_RUN, f"claim {claim}, task {run.task}, attempt {run.attempt}, {where}: {known}")


def finishes(index: Index) -> Iterator[Violation]:
    """I4, seen from the work: what stands in an ended row comes from the run of the claim under which it ended.

    A finish that is fenced by status alone looks like any other among the transitions: its result gives it away.
    """
    kinds = {index.rows[run.task].kind for sides in index.runs.values() for run in sides if run.task in index.rows}
    for row in index.rows.values():
        if row.status == "completed" and row.kind in kinds:
            yield from _of_another(row)
            if not any(run.phase == "end" for run in index.runs.get(row.claim, ())):
                yield Violation(NO_END, f"task {row.id} ({row.kind}) under claim {row.claim}, whose run has not ended")
        elif row.status == "failed" and row.error.get("attempt", row.attempt) != row.attempt:
            attempts = f"error of attempt {row.error['attempt']} in attempt {row.attempt}"
            yield Violation(STALE, f"task {row.id} failed under claim {row.claim} with the {attempts}")


def _of_another(row: Row) -> Iterator[Violation]:
    by = row.result.get("claim", row.claim) if isinstance(row.result, dict) else row.claim
    if by != row.claim:
        yield Violation(STALE, f"task {row.id} completed under claim {row.claim} with the result of claim {by}")
