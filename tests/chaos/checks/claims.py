"""Claims: each is used once, and only its holder finishes, gives back or writes."""

from collections.abc import Iterator

from tests.chaos import lateness
from tests.chaos.checks.index import Index, Violation, clock, said
from tests.chaos.checks.times import Times
from tests.chaos.history import Injected, Transition
from tests.chaos.scene import LEASE_SECONDS

REUSED, UNCLAIMED, FOREIGN, MISCOUNTED = "claim used twice", "no claim", "claim of another", "miscounted"
THROWN_AWAY = "given up as lost, though it kills nobody"
TWO_STARTS, UNKNOWN_RUN, OUTLIVED = "two runs under a claim", "run without a claim", "run that outlives its claim"
STOP_SECONDS = 30.0  # for a handler to stop after its claim: a freeze, or some blocked loops, and a lease
MAX_LOST = 3  # as the processes are told
_POISON = "chaos_poison"  # the only kind that kills who runs it


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


def innocents(index: Index) -> Iterator[Violation]:
    """Who was lost twice runs alone, so that only what kills its process is given up.

    Or whose lonely process is taken for dead, since no beat of it gets through: the third loss, as it would be for any.
    """
    injected = index.history.injected
    cut_off = Times((each.begun, each.ended + 2 * LEASE_SECONDS) for each in injected if _keeps_beats(each))
    for change in index.history.transitions:
        is_given_up = change.new == "failed" and change.error_code == "consumer_lost"
        if is_given_up and index.kind_of(change.task) != _POISON and not cut_off.touch(change.at - 1, change.at):
            yield Violation(THROWN_AWAY, said(change))


def _keeps_beats(fault: Injected) -> bool:
    return fault.fault == lateness.LATE or "consumer-postgres" in fault.target.split(", ")


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


def stops(index: Index) -> Iterator[Violation]:
    """A run goes on for a while only after its claim has ended, whoever took it away.

    That it did not stop is only known of a consumer that has noted something after that: it was alive, and awake.
    """
    awake: dict[str, float] = {}  # by consumer, its last word
    for claim, sides in index.runs.items():
        if claim in index.lives:
            consumer = index.lives[claim].consumer
            awake[consumer] = max(awake.get(consumer, 0.0), *(run.at for run in sides))
    for claim, sides in index.runs.items():
        life = index.lives.get(claim)
        if life is None or life.task not in index.rows or index.rows[life.task].is_unruly:
            continue
        give_up = life.ended + STOP_SECONDS
        last = max(sides)
        if awake[life.consumer] > give_up and (last.phase == "start" or last.at > give_up):
            noted = "has not ended" if last.phase == "start" else f"{last.phase} at {clock(last.at)}"
            ended = f"its claim {claim} ended at {clock(life.ended)}"
            yield Violation(OUTLIVED, f"the run of task {life.task} {noted}, and {ended}")
