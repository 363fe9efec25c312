"""PgQueuer on PostgreSQL, with asyncpg."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from pgqueuer import PgQueuer

from bench.peers.common import AsyncClient, postgres_url, run_async
from bench.peers.jobs import ASYNC_JOBS


@asynccontextmanager
async def connected() -> AsyncIterator[Any]:
    """Its object on a pool of connections."""
    async with asyncpg.create_pool(postgres_url(), min_size=4, max_size=20) as pool:
        yield PgQueuer.from_asyncpg_pool(pool)


@asynccontextmanager
async def connect() -> AsyncIterator[AsyncClient]:
    """A client."""
    async with connected() as pgq:
        queries = pgq.qm.queries
        yield AsyncClient(
            send=lambda task, x: queries.enqueue(task, b"%.6f" % x),
            send_many=lambda task, xs: queries.enqueue([task] * len(xs), [b"%.6f" % x for x in xs], [0] * len(xs)),
        )


async def setup() -> None:
    """Make the schema, as its command prints it."""
    command = Path(sys.executable).parent / "pgq"
    printing = await asyncio.create_subprocess_exec(command, "sql", "install", stdout=asyncio.subprocess.PIPE)
    sql, _ = await printing.communicate()
    connection = await asyncpg.connect(postgres_url())
    await connection.execute(sql.decode())
    await connection.close()


def _entrypoint(name: str) -> Callable[[Any], Awaitable[None]]:
    async def start(job: Any) -> None:
        await ASYNC_JOBS[name](float(job.payload))

    return start


async def work(setting: str) -> None:
    """So many tasks a claim; as many at a time as there are."""
    async with connected() as pgq:
        for name in ASYNC_JOBS:
            pgq.entrypoint(name)(_entrypoint(name))
        await pgq.run(batch_size=int(setting))


if __name__ == "__main__":
    run_async(connect, work, setup)
