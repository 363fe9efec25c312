"""Taskmill as a contender beside its peers, over HTTP, one API process: at its best for tiny tasks, and as it comes."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.contender import Drained
from bench.databases import settle
from bench.drains import drain, post_batches
from bench.latency import start_delays
from bench.load import post
from bench.subject import Subject, running
from bench.usage import server_pids
from tests.support.servers import Servers

US = Subject.name
DEFAULT = f"{US}, default"
SLOTS = 500  # a consumer's, at its best
TRIED = ("100 (the default)", "200", "500", "1,000")
_REDIS_NUMBER = 15


class Taskmill:
    """Implements bench.contender.Contender. Two of them may share what they run on: one at a time uses it."""

    def __init__(
        self, slots: int | None, runner: asyncio.Runner, subject: Subject, stamps: Path, server_pids: Sequence[int]
    ) -> None:
        self.name = US if slots else DEFAULT
        self._settings: dict[str, object] = {"consumer_concurrency": slots} if slots else {}
        self._runner = runner
        self._subject = subject
        self._stamps = stamps
        self._server_pids = server_pids

    def reset(self) -> None:
        """Leave an empty store."""
        self._runner.run(self._subject.empty())

    def enqueue(self, count: int, *, batch: bool) -> float:
        """Seconds for so many POSTs, one after another, or in arrays of 1,000."""
        return self._runner.run(post_batches(self._subject.url, count) if batch else self._post_each(count))

    def drain(self, count: int, *, workers: int) -> Drained:
        """See Contender."""
        return self._drain(count, workers, self._subject.noop, self._settings)

    def latencies(self, rate: float, seconds: float) -> list[float]:
        """Milliseconds from just before the POST to the handler's first line."""
        return self._runner.run(self._latencies(rate, seconds))

    def sleepers(self, count: int) -> Drained:
        """So many tasks of a second, in one consumer with as many slots."""
        return self._drain(count, 1, self._subject.sleeper(1), {"consumer_concurrency": count})

    def creates_per_second(self) -> float:
        """POSTs over 64 connections for a second, no consumer running."""
        return self._runner.run(self._creates())

    def settle(self) -> None:
        """Let the servers finish what was before."""
        self._runner.run(settle(self._subject.sql))

    def _drain(self, count: int, workers: int, body: str, settings: dict[str, object]) -> Drained:
        pids = self._server_pids
        return self._runner.run(drain(self._subject, count, workers, body, server_pids=pids, **settings))

    async def _creates(self) -> float:
        load = await post(f"{self._subject.url}/task", self._subject.noop, 64, 1)
        if load.failed:
            raise RuntimeError(f"{load.failed} of {load.requests} creates failed")
        return load.per_second

    async def _post_each(self, count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            await self._subject.make(self._subject.noop)
        return time.perf_counter() - begin

    async def _latencies(self, rate: float, seconds: float) -> list[float]:
        try:
            await self._subject.start_consumers(1, **self._settings)
            return await start_delays(self._subject, self._stamps, rate, seconds)
        finally:
            await self._subject.stop_consumers()


@contextmanager
def taskmill(servers: Servers) -> Iterator[tuple[Taskmill, Taskmill]]:
    """At its best, and as it comes, with one API process in databases of its own."""
    with TemporaryDirectory(prefix="taskmill-bench-") as folder, asyncio.Runner() as runner:
        stamps = Path(folder) / "stamps"
        stack = AsyncExitStack()
        try:
            subject = runner.run(
                stack.enter_async_context(
                    running(Subject, servers, _REDIS_NUMBER, handler_modules="bench.stamps", bench_stamps=stamps)
                )
            )
            pids = runner.run(server_pids(servers))
            yield Taskmill(SLOTS, runner, subject, stamps, pids), Taskmill(None, runner, subject, stamps, pids)
        finally:
            runner.run(stack.aclose())
