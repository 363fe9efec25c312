"""What tasks cost that only stand in the table: millions that have ended, or are due in years.

Two databases on one server, one with them and one without, each with an API and a consumer of its own. What is looked
for is smaller than two kinds of noise. One process is some percent faster than the next for as long as it lives, so
each turn has new ones. And a shared machine is slow at times, of no length, so a turn is slices of one and the other,
and what decides is how much is measured in all: the mean of its slices is a turn's figure. The CPU that an operation
takes (the API's or the consumer's, and that of their PostgreSQL backends) is noted as well.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

import uuid_utils

from bench.creates import SIXTY_FOUR
from bench.fill import Fill, fill_delayed, fill_ended
from bench.load import get, post
from bench.run import Run, name_of
from bench.subject import Subject
from bench.usage import cpu_seconds
from tests.support.waiting import until

# From all over the table: of many, so that their pages are not all in shared buffers. Only of what has ended, with the
# rows and without them: the answer for a task that has not is shorter.
_READ_IDS = 50_000
_SAMPLE = f"""
SELECT id FROM tasks WHERE status IN ('completed', 'failed') ORDER BY random() LIMIT {_READ_IDS}
"""
# Primary key: ids grow with time.
_CLAIMS = """
SELECT (count(*) / extract(epoch FROM max(finished_at) - min(started_at)))::float8
FROM tasks WHERE id > $1 AND status = 'completed'
"""

OPERATIONS = ("creates", "claims", "reads")
# What is told of each part: the first word of its measures, and what was there.
STANDING = {
    "history": ("ended", "ended"),
    "delayed": ("delayed", "delayed"),
    "control": ("nothing", "nothing"),
}


class Laden(Subject):
    """Taskmill with many tasks in its table."""

    name = "Taskmill, laden"


async def measure_history(run: Run) -> None:
    """Tasks that have ended."""
    await _compare(run, "ended", run.dose.history_turns, run.dose.ended, fill_ended)


async def measure_delayed(run: Run) -> None:
    """Tasks that are due in ten years."""
    await _compare(run, "delayed", run.dose.turns, run.dose.delayed, fill_delayed)


async def measure_control(run: Run) -> None:
    """Nothing, in two databases that are alike: what the method itself shows."""
    await _compare(run, "nothing", run.dose.turns)


async def _compare(run: Run, what: str, turns: int, count: int = 0, fill: Fill | None = None) -> None:
    async with AsyncExitStack() as stack:
        subjects = await run.open(stack, Subject, Laden)
        for subject in subjects:
            if fill and isinstance(subject, Laden):
                await fill(subject.env["DATABASE_URL"], count)
                print(f"  {count:,} rows are there", flush=True)
            await subject.start_consumers()
            await _warm_up(subject, [], run.dose.slice_seconds)
            await until(partial(_has_counted, subject), 120)
            await subject.sql.execute("VACUUM ANALYZE tasks, task_deltas")
        ids = {one.name: [str(row[0]) for row in await one.sql.fetch(_SAMPLE)] for one in subjects}
        run.add("Taskmill", f"{what}_rows", "", count)
        for number in range(turns):
            await _turn(run, what, subjects[:: -1 if number % 2 else 1], ids, number)


async def _has_counted(subject: Subject) -> bool:
    """Whether its counters have taken in what each statement has changed: millions of rows leave some time's work."""
    return not await subject.sql.fetchval("SELECT EXISTS (SELECT FROM task_deltas)")


async def _turn(run: Run, what: str, subjects: Sequence[Subject], ids: dict[str, list[str]], number: int) -> None:
    """New processes, and of what each did in its slices one figure for each operation."""
    for subject in subjects:
        await subject.restart()
        await _warm_up(subject, ids[subject.name], run.dose.slice_seconds)
    found = {subject.name: {operation: _Slices() for operation in OPERATIONS} for subject in subjects}

    async def once(subject: Subject, _: int) -> None:
        await _measure(subject, ids[subject.name], run.dose.slice_seconds, found[subject.name])

    await run.take_turns(subjects, run.dose.slices, once, name_of)
    for name, operations in found.items():
        for operation, slices in operations.items():
            if not slices.rates:  # it has failed in its first one, and that was told
                continue
            run.add(name, f"{what}_{operation}", "1/s", fmean(slices.rates), number)
            run.add(name, f"{what}_{operation}_cpu", "µs", 1e6 * slices.cpu_seconds / slices.count, number)


async def _warm_up(subject: Subject, ids: list[str], seconds: float) -> None:
    """Let new processes do a little of everything."""
    await post(f"{subject.url}/task", subject.noop, SIXTY_FOUR, seconds)
    await subject.has_ended()
    if ids:
        await get(f"{subject.url}/task", ids, SIXTY_FOUR, seconds)


async def _measure(subject: Subject, ids: list[str], seconds: float, found: "dict[str, _Slices]") -> None:
    """One slice: creates while the consumer is held, then what it does with them, then reads."""
    newest = str(uuid_utils.uuid7())
    backends = await subject.backends()
    subject.pause(is_paused=True)
    try:
        before = cpu_seconds([subject.api.pid, *backends])
        load = await post(f"{subject.url}/task", subject.noop, SIXTY_FOUR, seconds)
        used = cpu_seconds([subject.api.pid, *backends]) - before
        before = subject.consumer_cpu() + cpu_seconds(backends)
    finally:
        subject.pause(is_paused=False)
    found["creates"].add(load.per_second, used, load.requests)
    await subject.has_ended()
    used = subject.consumer_cpu() + cpu_seconds(backends) - before
    rate = await subject.sql.fetchval(_CLAIMS, newest)
    if rate is not None:  # where the machine stood still for all of the slice, nothing was made
        found["claims"].add(rate, used, load.requests)
    before = cpu_seconds([subject.api.pid, *backends])
    load = await get(f"{subject.url}/task", ids, SIXTY_FOUR, seconds)
    used = cpu_seconds([subject.api.pid, *backends]) - before
    found["reads"].add(load.per_second, used, load.requests)


@dataclass
class _Slices:
    """What one operation came to in the slices of a turn."""

    rates: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    count: int = 0

    def add(self, rate: float, used: float, count: int) -> None:
        """One slice more."""
        self.rates.append(rate)
        self.cpu_seconds += used
        self.count += count
