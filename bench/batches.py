"""Batches of creates beside PostgreSQL's own bulk insert: the ways of bench.batch, as figures."""

import time
from collections.abc import Awaitable, Callable

from bench.batch import MAKE_BARE, insert_bare, insert_tasks, post_arrays
from bench.run import Run
from bench.subject import Subject, running
from bench.usage import cpu_seconds

Way = Callable[[float], Awaitable[int]]
LIMIT = "INSERT ... unnest of 1,000"


async def measure_batches(run: Run) -> None:
    """In turns on one server, each into empty tables."""
    async with running(Subject, run.servers) as subject:
        await subject.sql.execute(MAKE_BARE)
        ways: dict[str, Way] = {
            LIMIT: lambda seconds: insert_bare(subject.sql, seconds),
            "the same into Taskmill's table": lambda seconds: insert_tasks(subject.sql, seconds),
            "Taskmill": lambda seconds: post_arrays(subject.url, seconds, keyed=False),
            "Taskmill, one in flight": lambda seconds: post_arrays(subject.url, seconds, in_flight=1, keyed=False),
            "Taskmill, Idempotency-Key": lambda seconds: post_arrays(subject.url, seconds, keyed=True),
        }
        for way in ways.values():  # to warm up
            await way(run.dose.batch_seconds / 4)

        async def once(name: str, number: int) -> None:
            await subject.sql.execute("TRUNCATE bare, tasks")
            used, begin = cpu_seconds([subject.api.pid]), time.perf_counter()
            count = await ways[name](run.dose.batch_seconds)
            run.add(name, "batch", "1/s", count / (time.perf_counter() - begin), number)
            if subject.name in name:
                run.add(name, "batch_cpu", "µs", 1e6 * (cpu_seconds([subject.api.pid]) - used) / count, number)

        await run.take_turns(list(ways), run.dose.rounds + 1, once, str)
