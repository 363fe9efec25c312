"""I5: whoever is due is claimed within a bound, at each of his attempts, whatever is injected."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import NamedTuple

from app.queue.claim import SUSPECT_AT
from tests.chaos import handlers
from tests.chaos.checks.index import Index, Row, Violation, clock, said
from tests.chaos.checks.patience import Patience
from tests.chaos.checks.suspects import FIRST_SECONDS, Suspects
from tests.chaos.checks.ticks import SCHEDULES, TICK_SECONDS
from tests.chaos.history import Transition

WAITED, UNMEASURED, EARLY = "waited too long", "no wait was measured", "claimed before it was due"
PUT_OFF = "due later than it must be"

# These kinds have a single consumer here, with one child process, and it dies as often as any other.
CHILD_SECONDS = 60.0
_CHILD_KINDS = frozenset(handler.kind for handler in handlers.HANDLERS if handler.queue == handlers.CHILDREN)
_PAUSES = {handler.kind: handler.retry_cap_seconds for handler in handlers.HANDLERS}  # before the next attempt, at most
_CLOCK_SECONDS = 0.001


class Sort(StrEnum):
    """For which waits a bound is the same."""

    CALM = "outside of faults"
    TOUCHED = "during or after one"
    CHILD = "for the one consumer that serves children"
    SUSPECT = "to run alone after two losses"


class Wait(NamedTuple):
    """From when a task was due to when somebody claimed or canceled it."""

    sort: Sort
    due: float
    change: Transition
    bound: float  # seconds that it may have taken
    pause: float = 0.0  # of a suspect's: the longest in which none of them was claimed
    longest_pause: float = 0.0  # that this may have been

    @property
    def seconds(self) -> float:
        """Of the whole."""
        return self.change.at - self.due


@dataclass(slots=True)
class Waits:
    """How many were measured of each sort, and the longest, in seconds."""

    counts: Counter[Sort] = field(default_factory=Counter)
    longest: dict[Sort, float] = field(default_factory=lambda: dict.fromkeys(Sort, 0.0))

    def __str__(self) -> str:
        """As it is printed."""
        sorts = (f"{self.counts[sort]:,} {sort}, at most {self.longest[sort]:.2f} s" for sort in Sort)
        return f"{self.counts.total():,}: {'; '.join(sorts)}"


def measure(index: Index) -> Waits:
    """All of them."""
    found = Waits()
    for wait in _waits(index):
        found.counts[wait.sort] += 1
        found.longest[wait.sort] = max(found.longest[wait.sort], wait.seconds)
    return found


def waits(index: Index) -> Iterator[Violation]:
    """Nobody waits longer than the bound; and a history in which nobody has waited shows nothing."""
    count = 0
    for wait in _waits(index):
        count += 1
        if wait.seconds > wait.bound:
            evidence = f"{wait.seconds:.1f} s {wait.sort}, and {wait.bound:.1f} s at most: due at {clock(wait.due)}"
            yield Violation(WAITED, f"{evidence}, then {said(wait.change)}")
        elif wait.pause > wait.longest_pause:
            evidence = (
                f"for {wait.pause:.1f} s none {wait.sort} was claimed, and for {wait.longest_pause:.1f} s at most"
            )
            yield Violation(WAITED, f"{evidence}: due at {clock(wait.due)}, then {said(wait.change)}")
    if not count:
        yield Violation(UNMEASURED, f"{len(index.history.transitions)} transitions")


def starts(index: Index) -> Iterator[Violation]:
    """Nobody is claimed before it is due."""
    for change in index.history.transitions:
        if change.new == "processing" and change.run_at > change.at + _CLOCK_SECONDS:
            yield Violation(EARLY, f"{said(change)}, due at {clock(change.run_at)}")


def dues(index: Index) -> Iterator[Violation]:
    """Who was recovered or given back is due at once, and who is tried again within the pause that his kind has."""
    for change in index.history.transitions:
        if (change.old, change.new) == ("processing", "pending"):
            pause = _PAUSES.get(index.kind_of(change.task), inf) if change.claim else 0.0
            if change.run_at > change.at + pause + _CLOCK_SECONDS:
                yield Violation(PUT_OFF, f"{said(change)}, due at {clock(change.run_at)}")


def _waits(index: Index) -> Iterator[Wait]:
    patience, suspects = Patience(index.history.injected), Suspects(index.history.transitions)
    turns, ahead = _turns(index), _ahead_in_children(index)
    scheduled = {call.marker for verb in SCHEDULES for call in index.calls[verb]}
    for task, chain in index.chains.items():
        row = index.rows.get(task)
        for since, change in pairwise(chain):
            if since.new != "pending":
                continue
            is_tick = not since.old and since.run_at % TICK_SECONDS == 0
            if is_tick and row is not None and row.marker in scheduled:
                due = since.run_at  # and not when somebody came to make its task
            else:
                due = max(since.at, since.run_at)
            if row is not None and row.key:  # he waits in turn: since the last of his key has made room
                place = bisect_left(turns[row.key], change.at)
                due = max(due, turns[row.key][place - 1] if place else due)
            if row is not None and row.kind in _CHILD_KINDS and change.lost_count < SUSPECT_AT:
                # He comes after those of a higher priority: since the last of them was claimed.
                place = bisect_left(ahead[row.priority], change.at)
                due = max(due, ahead[row.priority][place - 1] if place else due)
            if due < change.at:
                yield _wait(row, due, change, patience, suspects)


def _wait(row: Row | None, due: float, change: Transition, patience: Patience, suspects: Suspects) -> Wait:
    if change.lost_count >= SUSPECT_AT:
        excused, pause = patience.excused(due, change.at), suspects.pause(due, change.at)
        bound = suspects.seconds(due, change) + excused
        return Wait(Sort.SUSPECT, due, change, bound, pause, FIRST_SECONDS + excused)
    if row is not None and row.kind in _CHILD_KINDS:
        return Wait(Sort.CHILD, due, change, CHILD_SECONDS + patience.excused(due, change.at))
    sort = Sort.TOUCHED if patience.is_touched(due, change.at) else Sort.CALM
    return Wait(sort, due, change, patience.seconds(due, change.at))


def _turns(index: Index) -> dict[str, Sequence[float]]:
    """When a task of each key made room for another, in order.

    That is by leaving `processing`, or, where it had been let through and not been claimed yet, by its cancel.
    """
    turns: dict[str, list[float]] = defaultdict(list)
    for row in index.rows.values():
        if row.key:
            turns[row.key] += (change.at for change in index.chains.get(row.id, ()) if _makes_room(change))
    return {key: sorted(times) for key, times in turns.items()}


def _ahead_in_children(index: Index) -> dict[int, Sequence[float]]:
    """For each priority, when a task of a higher one was claimed that runs in children, in order.

    Theirs is the only queue that is ever full for minutes, so that priorities decide who is never reached meanwhile.
    """
    claims: dict[int, list[float]] = {priority: [] for priority in range(3)}
    for row in index.rows.values():
        if row.kind in _CHILD_KINDS:
            chain = index.chains.get(row.id, ())
            at = [each.at for each in chain if each.new == "processing" and each.lost_count < SUSPECT_AT]
            for priority in range(row.priority + 1, 3):
                claims[priority] += at
    return {priority: sorted(times) for priority, times in claims.items()}


def _makes_room(change: Transition) -> bool:
    is_canceled = (change.old, change.new) == ("pending", "canceled")
    return change.old == "processing" or (is_canceled and not change.was_blocked)
