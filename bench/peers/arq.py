"""Arq on Redis: no results. It has no batches."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arq import Worker, create_pool
from arq.connections import RedisSettings
from arq.worker import Function, func

from bench.peers.common import AsyncClient, redis_url, run_async
from bench.peers.jobs import ASYNC_JOBS

settings = RedisSettings.from_dsn(redis_url())


@asynccontextmanager
async def connect() -> AsyncIterator[AsyncClient]:
    """A client."""
    pool = await create_pool(settings)
    yield AsyncClient(pool.enqueue_job)
    await pool.aclose()


def _function(name: str) -> Function:
    async def start(_: object, x: float) -> None:
        await ASYNC_JOBS[name](x)

    return func(start, name=name)


def work(setting: str) -> None:
    """So many tasks at a time."""
    functions = [_function(name) for name in ASYNC_JOBS]
    Worker(functions, redis_settings=settings, max_jobs=int(setting), keep_result=0, log_results=False).run()


if __name__ == "__main__":
    run_async(connect, work)
