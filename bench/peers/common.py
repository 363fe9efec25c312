"""What a peer's script can be told to do, and the timing of it.

    python -m bench.peers.NAME setup                        make the schema
    python -m bench.peers.NAME enqueue TASK N one|batch     print the seconds that this took, connecting not counted
    python -m bench.peers.NAME pace RATE SECONDS            send `stamp` with the time of its sending, RATE a second
    python -m bench.peers.NAME work SETTING                 be a worker

It runs in the peer's own environment, so that nothing but the standard library is imported here.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

CHUNK = 1_000  # tasks in a batch
BATCHES_IN_FLIGHT = 2  # of an asyncio peer, as Taskmill has them
IN_FLIGHT = 50  # sends at a time, of an asyncio peer that has no batches


@dataclass(frozen=True)
class Client:
    """A connected client: sends a task by its name with its argument, and many of them in one go if it can."""

    send: Callable[[str, float], object]
    send_many: Callable[[str, list[float]], object] | None = None


@dataclass(frozen=True)
class AsyncClient:
    """The same with asyncio."""

    send: Callable[[str, float], Awaitable[object]]
    send_many: Callable[[str, list[float]], Awaitable[object]] | None = None


def redis_url() -> str:
    """Where the peer's tasks go if Redis is its store."""
    return os.environ["BENCH_REDIS"]


def postgres_url() -> str:
    """Where they go if PostgreSQL is."""
    return os.environ["BENCH_POSTGRES"]


def execute(program: str, *arguments: str) -> NoReturn:
    """Become a program of the peer's environment."""
    path = str(Path(sys.executable).parent / program)
    os.execv(path, [path, *arguments])  # noqa: S606 - no shell is needed


def run(client: Client, work: Callable[[str], object]) -> None:
    """Do what the command line says, for a peer whose client blocks."""
    match sys.argv[1:]:
        case ["enqueue", task, count, how]:
            start = time.perf_counter()
            for chunk in _chunks(int(count)):
                if how == "batch" and client.send_many:
                    client.send_many(task, chunk)
                else:
                    for x in chunk:
                        client.send(task, x)
            print(time.perf_counter() - start)
        case ["pace", rate, seconds]:
            for wait in _ticks(float(rate), float(seconds)):
                time.sleep(wait)
                client.send("stamp", time.monotonic())
        case ["work", setting]:
            work(setting)
        case command:
            raise SystemExit(f"not a command: {command}")


def run_async(
    connect: Callable[[], AbstractAsyncContextManager[AsyncClient]],
    work: Callable[[str], Awaitable[object] | None],
    setup: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """The same for a peer of asyncio, on uvloop. A `work` that answers nothing has run its own event loop."""
    import uvloop  # noqa: PLC0415 - of the peer's environment, where there is asyncio

    uvloop.install()
    match sys.argv[1:]:
        case ["setup"]:
            if setup:
                asyncio.run(_wait(setup()))
        case ["enqueue", task, count, how]:
            print(asyncio.run(_enqueue(connect, task, int(count), in_batches=how == "batch")))
        case ["pace", rate, seconds]:
            asyncio.run(_pace(connect, float(rate), float(seconds)))
        case ["work", setting]:
            working = work(setting)
            if working is not None:
                asyncio.run(_wait(working))
        case command:
            raise SystemExit(f"not a command: {command}")


async def _wait(awaitable: Awaitable[object]) -> None:
    await awaitable


async def _enqueue(
    connect: Callable[[], AbstractAsyncContextManager[AsyncClient]], task: str, count: int, *, in_batches: bool
) -> float:
    async with connect() as client:
        start = time.perf_counter()
        if in_batches and client.send_many:
            chunks = _chunks(count)
            await asyncio.gather(*(_send_chunks(client.send_many, task, chunks) for _ in range(BATCHES_IN_FLIGHT)))
        else:
            waiting = iter(range(count))
            width = IN_FLIGHT if in_batches else 1
            await asyncio.gather(*(_send_all(client, task, waiting) for _ in range(width)))
        return time.perf_counter() - start


async def _send_chunks(
    send_many: Callable[[str, list[float]], Awaitable[object]], task: str, chunks: Iterator[list[float]]
) -> None:
    for chunk in chunks:
        await send_many(task, chunk)


async def _send_all(client: AsyncClient, task: str, waiting: Iterator[int]) -> None:
    for x in waiting:
        await client.send(task, x)


async def _pace(connect: Callable[[], AbstractAsyncContextManager[AsyncClient]], rate: float, seconds: float) -> None:
    async with connect() as client:
        for wait in _ticks(rate, seconds):
            await asyncio.sleep(wait)
            await client.send("stamp", time.monotonic())


def _chunks(count: int) -> Iterator[list[float]]:
    for start in range(0, count, CHUNK):
        yield [float(x) for x in range(start, min(count, start + CHUNK))]


def _ticks(rate: float, seconds: float) -> Iterator[float]:
    """How long to wait before each send."""
    start = time.monotonic()
    for number in range(int(rate * seconds)):
        yield max(0.0, start + number / rate - time.monotonic())
