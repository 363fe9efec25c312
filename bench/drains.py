"""How fast no-op tasks are done by one consumer and by two, beside the naive implementation."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench.contender import Drained
from bench.load import post
from bench.naive.subject import Naive
from bench.run import Run, name_of
from bench.subject import Subject
from bench.usage import lasting_cpu_seconds, peak_mib
from tests.support.wire import JSON, connect, request

_ROWS = 1_000  # in one batch
_IN_FLIGHT = 2
_FIRST_TASKS = 20  # a worker, before it is measured, as peers get them
_TOOK = "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM tasks WHERE status = 'completed'"


async def measure_drains(run: Run) -> None:
    """Tasks wait, then the consumers go."""
    async with AsyncExitStack() as stack:
        subjects = await run.open(stack, Subject, Naive)

        async def once(subject: Subject, number: int) -> None:
            for workers in (1, 2):
                await subject.empty()
                drained = await (
                    _drain_naive(run, subject, workers)
                    if isinstance(subject, Naive)
                    else drain(subject, run.dose.tasks * workers, workers)
                )
                run.add(subject.name, f"noop_{workers}", "1/s", drained.done / drained.seconds, number)
                run.add(subject.name, f"noop_{workers}_cpu", "ms", 1_000 * drained.cpu / drained.done, number)
                run.add(subject.name, f"noop_{workers}_peak", "MiB", drained.peak, number)

        await run.take_turns(subjects, run.dose.rounds, once, name_of)


async def post_batches(url: str, count: int, body: str = Subject.noop) -> float:
    """Create so many tasks in arrays of 1,000, two at a time; the seconds it took."""
    item = json.loads(body)
    sizes = [min(_ROWS, count - first) for first in range(0, count, _ROWS)]
    bodies = {size: json.dumps([item] * size).encode() for size in set(sizes)}
    left = iter(sizes)

    async def client() -> None:
        async with connect(url) as wire:
            for size in left:
                answer = await wire.ask(request("POST", "/task/batch", JSON, body=bodies[size]))
                if answer.status != 201:
                    raise RuntimeError(f"a batch is answered {answer.status}")

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(_IN_FLIGHT)))
    return time.perf_counter() - begin


async def drain(
    subject: Subject,
    count: int,
    workers: int,
    body: str = Subject.noop,
    server_pids: Sequence[int] = (),
    **settings: object,
) -> Drained:
    """Start consumers, warm them up, hold them while so many tasks are created, let them go, and stop them at the end.

    From the first task's start to the last one's end, as their rows say.
    """
    try:
        await subject.start_consumers(workers, **settings)
        await post_batches(subject.url, _FIRST_TASKS * workers)
        await subject.has_ended()
        await subject.empty()  # before they are held: one that is held within a statement keeps its locks
        subject.pause(is_paused=True)
        await post_batches(subject.url, count, body)
        await subject.sql.execute("VACUUM ANALYZE tasks")  # as peers get it
        used, of_servers = subject.consumer_cpu(), lasting_cpu_seconds(server_pids)
        subject.pause(is_paused=False)
        await subject.has_ended()
        used = subject.consumer_cpu() - used
        of_servers = lasting_cpu_seconds(server_pids) - of_servers
        peak = peak_mib(consumer.pid for consumer in subject.consumers)
    finally:
        await subject.stop_consumers()
    done = await subject.sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'completed'")
    if done != count:
        raise RuntimeError(f"{done} of {count} tasks are completed")
    return Drained(done, await subject.sql.fetchval(_TOOK), used, peak, of_servers if server_pids else None)


async def _drain_naive(run: Run, naive: Naive, workers: int) -> Drained:
    """The same, from when they are let go: by its rows one can't tell when the first has started."""
    await naive.start_consumers(workers)
    try:
        for _ in range(_FIRST_TASKS * workers):
            await naive.make(naive.noop)
        await naive.has_ended()
        await naive.empty()
        naive.pause(is_paused=True)
        await post(f"{naive.url}/task", naive.noop, 16, run.dose.seconds)
        count = await naive.sql.fetchval("SELECT count(*) FROM tasks")
        await naive.sql.execute("VACUUM ANALYZE tasks")
        used, begin = naive.consumer_cpu(), time.perf_counter()
        naive.pause(is_paused=False)
        await naive.has_ended()
        seconds = time.perf_counter() - begin
        used = naive.consumer_cpu() - used
        return Drained(count, seconds, used, peak_mib(consumer.pid for consumer in naive.consumers))
    finally:
        naive.pause(is_paused=False)
        await naive.stop_consumers()
