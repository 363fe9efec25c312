"""SAQ on Redis or, with BENCH_KIND=postgres, on PostgreSQL: no results. It has no batches."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from saq import Queue, Worker

from bench.peers.common import AsyncClient, postgres_url, redis_url, run_async
from bench.peers.jobs import ASYNC_JOBS


@asynccontextmanager
async def connected() -> AsyncIterator[Queue]:
    """A queue; its schema is made with the first one."""
    if os.environ.get("BENCH_KIND") == "postgres":
        queue = Queue.from_url(postgres_url(), min_size=4, max_size=20)
    else:
        queue = Queue.from_url(redis_url())
    await queue.connect()
    yield queue
    await queue.disconnect()


@asynccontextmanager
async def connect() -> AsyncIterator[AsyncClient]:
    """A client."""
    async with connected() as queue:
        yield AsyncClient(lambda task, x: queue.enqueue(task, x=x, ttl=-1))


async def setup() -> None:
    """Make the schema."""
    async with connected():
        pass


def _function(name: str) -> tuple[str, Callable[..., Awaitable[None]]]:
    async def start(_: object, *, x: float) -> None:
        await ASYNC_JOBS[name](x)

    return name, start


async def work(setting: str) -> None:
    """So many tasks at a time."""
    async with connected() as queue:
        await Worker(queue, [_function(name) for name in ASYNC_JOBS], concurrency=int(setting)).start()


if __name__ == "__main__":
    run_async(connect, work, setup)
