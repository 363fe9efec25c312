"""The work itself: rows written through checkpoints, and concurrency keys."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.checks.index import Index, Violation, clock
from tests.chaos.history import Transition

TWICE, GAP, OVERLAP = "effect twice", "effects missing", "key exceeded"
UNFENCED, CURSOR = "effect without its claim", "cursor elsewhere"


def effects(index: Index) -> Iterator[Violation]:
    """Each number from 1 to `rows` once where the task has completed; without gaps from 1 where it has not.

    And the cursor is where they end.
    """
    written: dict[str, Counter[int]] = defaultdict(Counter)
    for effect in index.history.effects:
        written[effect.task][effect.n] += 1
    for row in index.rows.values():
        numbers = written.pop(row.id, Counter())
        if doubles := [number for number, count in numbers.items() if count > 1]:
            yield Violation(TWICE, f"task {row.id} ({row.status}, attempt {row.attempt}): {sorted(doubles)}")
        rows = row.content.get("rows", 0) if row.status == "completed" else len(numbers)
        if set(numbers) != set(range(1, rows + 1)):
            missing = sorted(set(range(1, rows + 1)) - numbers.keys()) or f"{len(numbers)} of {rows}"
            yield Violation(GAP, f"task {row.id} ({row.status}, attempt {row.attempt}): {missing}")
        if numbers and row.cursor != numbers.total():
            yield Violation(CURSOR, f"task {row.id} ({row.status}) at {row.cursor}, with {numbers.total()} rows")
    for task, numbers in written.items():
        yield Violation(GAP, f"task {task} is not there, but has written {sorted(numbers)}")


def fences(index: Index) -> Iterator[Violation]:
    """I4: each row was committed with a change of its task, which its run's claim held then."""
    for effect in index.history.effects:
        life = index.lives.get(effect.claim)
        is_fenced = (effect.holder, effect.status) == (effect.claim, "processing")
        if not is_fenced or life is None or life.task != effect.task or not life.begun <= effect.at <= life.ended:
            held = f"{effect.status or 'not touched'} under claim {effect.holder or '-'}"
            by = f"claim {effect.claim} at {clock(effect.at)}"
            yield Violation(UNFENCED, f"task {effect.task}, number {effect.n} by {by}; the task was {held}")


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
