"""I5: whoever is due is claimed within a bound, at each of his attempts, whatever is injected."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from app.queue.claim import SUSPECT_AT
from tests.chaos.checks.index import Index, Violation, clock, said
from tests.chaos.history import Transition

WAITED, UNMEASURED, EARLY = "waited too long", "no wait was measured", "claimed before it was due"

LONGEST_SECONDS = 30.0  # that a task which is due may wait where no fault touches that time
# More than that where one does: a lease, a sweep, the starts of as many processes as there are on a busy machine, and
# the backlog. What the fault itself lasts comes on top only where it leaves nobody to claim.
RECOVERY_SECONDS = 30.0
# Kinds in child processes have a single consumer here, which dies as often as any other.
ALONE_SECONDS = 240.0
AFTERMATH_SECONDS = 10.0  # of a fault, in which it still touches who is due
_CLOCK_SECONDS = 0.001
OUTAGES = frozenset({"postgres-crash", "disk-full", "no-connections"})  # the others leave somebody who can claim


class Wait(NamedTuple):
    """From when a task was due to when somebody claimed or canceled it."""

    due: float
    change: Transition
    is_touched: bool  # by a fault or its aftermath
    is_alone: bool  # it was for one process only to claim it
    excused: float  # seconds of it in which there was nobody to claim
    # Of one who was lost twice, and so runs alone: the longest time in which none of those was claimed. They run one by
    # one, in processes that die with the consumers which started them, and all of a consumer's may have been lost so.
    standstill: float | None

    @property
    def seconds(self) -> float:
        """Of the whole."""
        return self.change.at - self.due

    @property
    def measured(self) -> float:
        """What the bound is for."""
        return self.seconds if self.standstill is None else self.standstill

    @property
    def bound(self) -> float:
        """That it may have taken, or stood still."""
        if self.is_alone and self.standstill is None:
            return ALONE_SECONDS + self.excused
        return (
            LONGEST_SECONDS + RECOVERY_SECONDS + self.excused if self.is_touched or self.is_alone else LONGEST_SECONDS
        )


@dataclass(slots=True)
class Waits:
    """How many were measured, and the longest, in seconds.

    Where no fault touches them, where one does, and of tasks that only one process could claim.
    """

    count: int = 0
    touched: int = 0
    alone: int = 0  # neither of the two others
    longest: float = 0.0
    longest_touched: float = 0.0
    longest_alone: float = 0.0

    def __str__(self) -> str:
        """As it is printed."""
        calm = f"{self.count - self.touched - self.alone:,} outside of faults, at most {self.longest:.2f} s"
        touched = f"{self.touched:,} during or after one, at most {self.longest_touched:.2f} s"
        alone = f"{self.alone:,} for one process alone, at most {self.longest_alone:.2f} s"
        return f"{self.count:,}: {calm}; {touched}; {alone}"


def measure(index: Index) -> Waits:
    """All of them."""
    found = Waits()
    for wait in _waits(index):
        found.count += 1
        if wait.is_alone:
            found.alone += 1
            found.longest_alone = max(found.longest_alone, wait.seconds)
        elif wait.is_touched:
            found.touched += 1
            found.longest_touched = max(found.longest_touched, wait.seconds)
        else:
            found.longest = max(found.longest, wait.seconds)
    return found


def waits(index: Index) -> Iterator[Violation]:
    """Nobody waits longer than the bound; and a history in which nobody has waited shows nothing."""
    count = 0
    for wait in _waits(index):
        count += 1
        if wait.measured > wait.bound:
            evidence = f"{wait.measured:.1f} s, and {wait.bound:.1f} s at most: due at {clock(wait.due)}"
            yield Violation(WAITED, f"{evidence}, then {said(wait.change)}")
    if not count:
        yield Violation(UNMEASURED, f"{len(index.history.transitions)} transitions")


def starts(index: Index) -> Iterator[Violation]:
    """Nobody is claimed before it is due."""
    for change in index.history.transitions:
        if change.new == "processing" and change.run_at > change.at + _CLOCK_SECONDS:
            yield Violation(EARLY, f"{said(change)}, due at {clock(change.run_at)}")


def _waits(index: Index) -> Iterator[Wait]:
    injected = index.history.injected
    touched = _Times((each.begun, each.ended + AFTERMATH_SECONDS) for each in injected)
    outages = _Times((each.begun, each.ended) for each in injected if each.fault in OUTAGES)
    turns = _turns(index)
    claims = (change for change in index.history.transitions if change.new == "processing")
    suspects = sorted(change.at for change in claims if change.lost_count >= SUSPECT_AT)
    for task, chain in index.chains.items():
        row = index.rows.get(task)
        for since, change in pairwise(chain):
            if since.new != "pending":
                continue
            due = max(since.at, since.run_at)
            if row is not None and row.key:  # he waits in turn: since the last of his key has made room
                place = bisect_left(turns[row.key], change.at)
                due = max(due, turns[row.key][place - 1] if place else due)
            if due < change.at:
                excused = outages.within(due, change.at)
                is_suspect = change.lost_count >= SUSPECT_AT
                is_alone = is_suspect or (row is not None and row.is_in_child)
                standstill = _longest_pause(suspects, due, change.at) if is_suspect else None
                yield Wait(due, change, touched.within(due, change.at) > 0, is_alone, excused, standstill)


def _longest_pause(times: Sequence[float], begun: float, ended: float) -> float:
    """Between any two of these times that follow one another, from `begun` to `ended`."""
    within = times[bisect_right(times, begun) : bisect_left(times, ended)]
    return max(after - before for before, after in pairwise([begun, *within, ended]))


def _turns(index: Index) -> dict[str, Sequence[float]]:
    """When a task of each key made room for another, in order."""
    turns: dict[str, list[float]] = defaultdict(list)
    for row in index.rows.values():
        if row.key:
            turns[row.key] += (change.at for change in index.chains.get(row.id, ()) if change.old)
    return {key: sorted(times) for key, times in turns.items()}


class _Times:
    """Times of which some may overlap, and how much of them lies between two."""

    def __init__(self, times: Iterable[tuple[float, float]]) -> None:
        merged: list[tuple[float, float]] = []
        for begun, ended in sorted(times):
            if merged and begun <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(ended, merged[-1][1])
            else:
                merged.append((begun, ended))
        self._begins = [begun for begun, _ in merged]
        self._times = merged
        self._sums = [0.0, *accumulate(ended - begun for begun, ended in merged)]

    def within(self, begun: float, ended: float) -> float:
        """Seconds."""
        return self._until(ended) - self._until(begun)

    def _until(self, at: float) -> float:
        place = bisect_right(self._begins, at)
        if not place:
            return 0.0
        begun, ended = self._times[place - 1]
        return self._sums[place - 1] + min(at, ended) - begun
