"""The work itself: rows written through checkpoints, concurrency keys, and how long tasks wait."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.checks.index import Index, Violation, clock
from tests.chaos.history import Transition

TWICE, GAP, OVERLAP, WAITED = "effect twice", "effects missing", "key exceeded", "waited too long"
LONGEST_WAIT_SECONDS = 30.0  # of a task that is due, when nothing is being injected
AFTERMATH_SECONDS = 10.0  # of a fault: lease, restart of the processes, backlog


def effects(index: Index) -> Iterator[Violation]:
    """Each number from 1 to `rows` once where the task has completed; without gaps from 1 where it has not."""
    written: dict[str, Counter[int]] = defaultdict(Counter)
    for task, number in index.history.effects:
        written[task][number] += 1
    for row in index.rows.values():
        numbers = written.pop(row.id, Counter())
        if doubles := [number for number, count in numbers.items() if count > 1]:
            yield Violation(TWICE, f"task {row.id} ({row.status}, attempt {row.attempt}): {sorted(doubles)}")
        rows = row.content.get("rows", 0) if row.status == "completed" else len(numbers)
        if set(numbers) != set(range(1, rows + 1)):
            missing = sorted(set(range(1, rows + 1)) - numbers.keys()) or f"{len(numbers)} of {rows}"
            yield Violation(GAP, f"task {row.id} ({row.status}, attempt {row.attempt}): {missing}")
    for task, numbers in written.items():
        yield Violation(GAP, f"task {task} is not there, but has written {sorted(numbers)}")


def keys(index: Index) -> Iterator[Violation]:
    """Tasks of one concurrency key are processing at most as many at a time as its limit says."""
    changes: dict[str, list[Transition]] = defaultdict(list)
    limits: dict[str, int] = {}
    for row in index.rows.values():
        if row.key:
            changes[row.key] += index.chains.get(row.id, ())
            limits[row.key] = max(row.limit, limits.get(row.key, 0))
    for key, chain in changes.items():
        running: dict[str, Transition] = {}
        for change in sorted(chain, key=lambda change: (change.at, change.seq)):
            if change.new == "processing":
                running[change.task] = change
                if len(running) > limits[key]:
                    claims = ", ".join(f"task {t.task} since {clock(t.at)} (claim {t.claim})" for t in running.values())
                    yield Violation(OVERLAP, f"{key}, limit {limits[key]}: {claims}")
            else:
                running.pop(change.task, None)


def waits(index: Index) -> Iterator[Violation]:
    """I5: nobody waits long while nothing is being injected."""
    for wait, change in _waits(index):
        if wait > LONGEST_WAIT_SECONDS:
            yield Violation(WAITED, f"task {change.task} for {wait:.1f} s until {clock(change.at)}")


def longest_wait(index: Index) -> float:
    """Seconds, of tasks that were due outside of faults."""
    return max((wait for wait, _ in _waits(index)), default=0.0)


def _waits(index: Index) -> Iterator[tuple[float, Transition]]:
    """How long tasks that were claimed once had been due, where no fault touches that time. Keyed ones wait in turn."""
    faults: list[tuple[float, float]] = []  # disjoint, in order
    for begun, ended in sorted((each.begun, each.ended + AFTERMATH_SECONDS) for each in index.history.injected):
        if faults and begun <= faults[-1][1]:
            faults[-1] = faults[-1][0], max(ended, faults[-1][1])
        else:
            faults.append((begun, ended))
    ends = [ended for _, ended in faults]
    for chain in index.chains.values():
        row = index.rows.get(chain[0].task)
        if row is None or row.key or row.attempt != 1 or len(chain) != 3 or chain[1].new != "processing":
            continue
        due = max(chain[0].at, row.run_at)
        place = bisect_left(ends, due)
        if place == len(faults) or faults[place][0] > chain[1].at:
            yield chain[1].at - due, chain[1]
