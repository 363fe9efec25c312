"""Taskmill as a contender beside its peers: over HTTP, one API process, consumers with default settings."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.contender import Drained
from bench.latency import start_delays
from bench.subject import Subject, running
from bench.usage import peak_mib
from tests.support.servers import Servers
from tests.support.waiting import until
from tests.support.wire import JSON, connect, request

_ROWS = 1_000  # in one batch
_IN_FLIGHT = 2
_TOOK = "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM tasks WHERE status = 'completed'"
_HAS_STARTED = "SELECT EXISTS (SELECT FROM consumers WHERE started_at > $1)"
_REDIS_NUMBER = 15


class Taskmill:
    """Implements bench.contender.Contender."""

    name = "Taskmill"
    setting = "default: 100 slots"

    def __init__(self, runner: asyncio.Runner, subject: Subject, stamps: Path) -> None:
        self._runner = runner
        self._subject = subject
        self._stamps = stamps

    def reset(self) -> None:
        """Leave an empty store."""
        self._runner.run(self._subject.empty())

    def enqueue(self, count: int, *, batch: bool) -> float:
        """Seconds for so many POSTs, one after another, or in arrays of 1,000."""
        return self._runner.run(self._post_batches(count) if batch else self._post_each(count))

    def drain(self, count: int, *, workers: int) -> Drained:
        """Start consumers on what waits."""
        return self._runner.run(self._drain(count, workers))

    def latencies(self, rate: float, seconds: float) -> list[float]:
        """Milliseconds from just before the POST to the handler's first line."""
        return self._runner.run(self._latencies(rate, seconds))

    def sleepers(self, count: int) -> Drained:
        """So many tasks of a second, in one consumer with as many slots."""
        self._runner.run(self._post_batches(count, self._subject.sleeper(1)))
        return self._runner.run(self._drain(count, 1, consumer_concurrency=count))

    async def _post_each(self, count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            await self._subject.make(self._subject.noop)
        return time.perf_counter() - begin

    async def _post_batches(self, count: int, body: str = Subject.noop) -> float:
        item = json.loads(body)
        sizes = [min(_ROWS, count - first) for first in range(0, count, _ROWS)]
        bodies = {size: json.dumps([item] * size).encode() for size in set(sizes)}
        left = iter(sizes)

        async def client() -> None:
            async with connect(self._subject.url) as wire:
                for size in left:
                    answer = await wire.ask(request("POST", "/task/batch", JSON, body=bodies[size]))
                    if answer.status != 201:  # noqa: PLR2004 - as documented
                        raise RuntimeError(f"a batch is answered {answer.status}")

        begin = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(_IN_FLIGHT)))
        return time.perf_counter() - begin

    async def _drain(self, count: int, workers: int, **settings: object) -> Drained:
        """The CPU is counted from the first consumer's entry into the table, which comes before its first claim."""
        subject = self._subject
        start = await subject.sql.fetchval("SELECT clock_timestamp()")
        try:
            subject.consumers += [subject.launch_consumer(**settings) for _ in range(workers)]
            await until(lambda: subject.sql.fetchval(_HAS_STARTED, start), 30)
            used = subject.consumer_cpu()
            await subject.has_ended()
            used = subject.consumer_cpu() - used
            peak = sum(peak_mib([consumer.pid]) for consumer in subject.consumers)
        finally:
            await subject.stop_consumers()
        done = await subject.sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'completed'")
        if done != count:
            raise RuntimeError(f"{done} of {count} tasks are completed")
        return Drained(done, await subject.sql.fetchval(_TOOK), used, peak)

    async def _latencies(self, rate: float, seconds: float) -> list[float]:
        try:
            await self._subject.start_consumers()
            return await start_delays(self._subject, self._stamps, rate, seconds)
        finally:
            await self._subject.stop_consumers()


@contextmanager
def taskmill(servers: Servers) -> Iterator[Taskmill]:
    """One API process, in databases of its own."""
    with TemporaryDirectory(prefix="taskmill-bench-") as folder, asyncio.Runner() as runner:
        stamps = Path(folder) / "stamps"
        stack = AsyncExitStack()
        try:
            subject = runner.run(
                stack.enter_async_context(
                    running(Subject, servers, _REDIS_NUMBER, handler_modules="bench.stamps", bench_stamps=stamps)
                )
            )
            yield Taskmill(runner, subject, stamps)
        finally:
            runner.run(stack.aclose())
