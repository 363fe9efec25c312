"""Streaq on Redis: no results."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streaq import Worker

from bench.peers.common import AsyncClient, redis_url, run_async
from bench.peers.jobs import ASYNC_JOBS

logging.disable(logging.INFO)


def make(concurrency: int) -> tuple[Any, dict[str, Any]]:
    """A worker, by which tasks are also sent, and its tasks."""
    worker = Worker(redis_url=redis_url(), concurrency=concurrency, anyio_kwargs={"use_uvloop": True})
    return worker, {name: worker.task(name=name, ttl=0, silent=True)(job) for name, job in ASYNC_JOBS.items()}


@asynccontextmanager
async def connect() -> AsyncIterator[AsyncClient]:
    """A client."""
    worker, tasks = make(16)

    async def send(task: str, x: float) -> None:
        await tasks[task].enqueue(x)

    async with worker:
        yield AsyncClient(send, lambda task, xs: worker.enqueue_many([tasks[task].enqueue(x) for x in xs]))


def work(setting: str) -> None:
    """So many tasks at a time."""
    make(int(setting))[0].run_sync()


if __name__ == "__main__":
    run_async(connect, work)
