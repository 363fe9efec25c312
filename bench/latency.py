"""How soon a task is started, and how soon a running one is stopped, on a system that does nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.limits.start import Bare
from bench.naive.subject import Naive
from bench.run import Run, name_of
from bench.stamps import read_stamps
from bench.subject import Subject, running
from tests.support.waiting import until

RATE = 50.0  # tasks a second
Stamped = tuple[Subject, Path]
_STARTED = "SELECT {started} - created_at FROM tasks WHERE id = $1 AND status = 'processing'"


async def measure_latency(run: Run) -> None:
    """From the first byte of a POST to the handler's first line, beside the least it takes; and from row to start."""
    async with stamped(run, Subject, 1) as ours, stamped(run, Bare, 2) as bare:

        async def start(one: Stamped, number: int) -> None:
            subject, stamps = one
            delays = await start_delays(subject, stamps, RATE, run.dose.latency_seconds)
            run.add_percentiles(subject.name, "start", delays, number)

        await run.take_turns([ours, bare], run.dose.rounds, start, lambda one: one[0].name)
    async with AsyncExitStack() as stack:
        subjects = await run.open(stack, Subject, Naive)

        async def once(subject: Subject, number: int) -> None:
            if not subject.consumers:
                await subject.start_consumers()
            delays = [await _row_to_start(subject) for _ in range(run.dose.cancels // 3)]
            run.add_percentiles(subject.name, "row_to_start", delays, number)

        await run.take_turns(subjects, run.dose.rounds, once, name_of)


async def measure_cancels(run: Run) -> None:
    """Of running tasks, one after another: until the PATCH is answered, and until the handler has stopped."""
    async with stamped(run) as (subject, stamps):
        for number in range(run.dose.rounds):
            answered, stopped = [], []
            for _ in range(run.dose.cancels // run.dose.rounds):
                one, other = await _cancel(subject, stamps)
                answered.append(one)
                stopped.append(other)
            run.add_percentiles(subject.name, "cancel_answered", answered, number)
            run.add_percentiles(subject.name, "cancel_stopped", stopped, number)


@asynccontextmanager
async def stamped(run: Run, kind: type[Subject] = Subject, redis_number: int = 1) -> AsyncIterator[Stamped]:
    """One of these with one consumer and handlers that write down when they start and stop; and where they do."""
    with TemporaryDirectory(prefix="taskmill-bench-") as folder:
        stamps = Path(folder) / "stamps"
        stamps.touch()
        settings = {"handler_modules": "bench.stamps", "bench_stamps": stamps}
        async with running(kind, run.servers, redis_number, **settings) as subject:
            await subject.start_consumers()
            yield subject, stamps


async def start_delays(subject: Subject, stamps: Path, rate: float, seconds: float) -> list[float]:
    """Milliseconds from just before the POST to the handler's first line, of tasks sent at this rate."""
    stamps.write_text("")  # noqa: ASYNC240 - a short file
    count = int(rate * seconds)
    begin = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
        await subject.make(f'{{"kind": "stamped", "content": {{"sent": {time.time()}}}}}')
    await subject.has_ended(10)
    delays = [value * 1_000 for value in read_stamps(stamps).values()]
    if len(delays) != count:
        raise RuntimeError(f"{len(delays)} of {count} tasks have started")
    return delays


async def _row_to_start(subject: Subject) -> float:
    """Milliseconds, by PostgreSQL's clock, of one task, canceled then."""
    task_id = await subject.make(subject.sleeper(30))
    statement = _STARTED.format(started=subject.started)
    delay = None

    async def has_started() -> bool:
        nonlocal delay
        delay = await subject.sql.fetchval(statement, task_id)
        return delay is not None

    await until(has_started, 10, 0.002)
    assert delay is not None
    await subject.ask("PATCH", f"/task/{task_id}/cancel")
    await asyncio.sleep(0.01)  # what the cancel sets off is not the next one's
    return float(delay.total_seconds()) * 1_000


async def _cancel(subject: Subject, stamps: Path) -> tuple[float, float]:
    """Milliseconds from before the PATCH until it is answered, and until the handler has stopped."""
    stamps.write_text("")  # noqa: ASYNC240 - a short file
    task_id = await subject.make('{"kind": "held", "content": {}}')

    async def wrote(event: str) -> bool:
        return (event, task_id) in read_stamps(stamps)

    await until(lambda: wrote("start"), 10, 0.002)
    sent = time.time()
    answer = await subject.ask("PATCH", f"/task/{task_id}/cancel")
    answered = time.time()
    if answer.status != 200:
        raise RuntimeError(f"a cancel is answered {answer.status}")
    await until(lambda: wrote("stop"), 10, 0.002)
    return (answered - sent) * 1_000, (read_stamps(stamps)["stop", task_id] - sent) * 1_000
