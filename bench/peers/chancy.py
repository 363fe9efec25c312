"""Chancy on PostgreSQL."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chancy import Chancy, Queue, Worker, job

from bench.peers.common import AsyncClient, postgres_url, run_async
from bench.peers.jobs import ASYNC_JOBS

TASKS: dict[str, Any] = {name: job(queue="bench")(function) for name, function in ASYNC_JOBS.items()}
_EXECUTOR = "chancy.executors.asyncex.AsyncExecutor"


def connected() -> Any:
    """Its object, which is to be entered."""
    quiet = logging.getLogger("quiet")
    quiet.setLevel(logging.WARNING)
    return Chancy(postgres_url(), log=quiet, min_connection_pool_size=4, max_connection_pool_size=20)


@asynccontextmanager
async def connect() -> AsyncIterator[AsyncClient]:
    """A client."""
    async with connected() as chancy:

        async def send_many(task: str, xs: list[float]) -> None:
            async for _ in chancy.push_many([TASKS[task].job.with_kwargs(x=x) for x in xs]):
                pass

        yield AsyncClient(lambda task, x: chancy.push(TASKS[task].job.with_kwargs(x=x)), send_many)


async def setup() -> None:
    """Make the schema."""
    async with connected() as chancy:
        await chancy.migrate()


async def work(setting: str) -> None:
    """So many tasks at a time."""
    async with connected() as chancy:
        queue = Queue("bench", concurrency=int(setting), executor=_EXECUTOR, polling_interval=1, eager_polling=True)
        await chancy.declare(queue, upsert=True)
        async with Worker(chancy) as worker:
            await worker.wait_for_shutdown()


if __name__ == "__main__":
    run_async(connect, work, setup)
