"""Procrastinate on PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from procrastinate import App, PsycopgConnector

from bench.peers.common import AsyncClient, postgres_url, run_async
from bench.peers.jobs import ASYNC_JOBS

app = App(connector=PsycopgConnector(conninfo=postgres_url(), min_size=4, max_size=20))
TASKS = {name: app.task(job, name=name, queue="default") for name, job in ASYNC_JOBS.items()}


@asynccontextmanager
async def connect() -> AsyncIterator[AsyncClient]:
    """A client."""
    async with app.open_async():
        yield AsyncClient(
            send=lambda task, x: TASKS[task].defer_async(x=x),
            send_many=lambda task, xs: TASKS[task].batch_defer_async(*({"x": x} for x in xs)),
        )


async def setup() -> None:
    """Make the schema."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def work(setting: str) -> None:
    """So many tasks at a time."""
    async with app.open_async():
        await app.run_worker_async(concurrency=int(setting))


if __name__ == "__main__":
    run_async(connect, work, setup)
