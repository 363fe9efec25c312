"""Schedules: each tick is made, and none is left out."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.checks.index import Index, Violation, clock

SILENT = "schedule without ticks"
TICK_SECONDS = 60.0  # of all schedules here
LONGEST_TICK_SECONDS = 1.5 * TICK_SECONDS  # from one to the next: none is left out, whatever is injected
SCHEDULES = ("put_schedule", "schedule")


def ticks(index: Index) -> Iterator[Violation]:
    """An acknowledged schedule makes a task each minute, until it is deleted."""
    made: dict[str, list[float]] = defaultdict(list)
    for row in index.rows.values():
        if row.run_at % TICK_SECONDS == 0:
            made[row.marker].append(row.run_at)
    ended = {call.marker: call.invoked for call in index.calls["delete_schedule"]}
    for call in index.acknowledged("put_schedule"):
        times = [call.ended, *sorted(made[call.marker]), ended.get(call.marker, index.now)]
        for before, after in pairwise(times):
            if after - before > LONGEST_TICK_SECONDS:
                yield Violation(SILENT, f"{call.marker} from {clock(before)} to {clock(after)}")
