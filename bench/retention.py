"""What it costs creates that old tasks are deleted at the same time.

    python -m bench.retention [--tasks 1000000] [--rate 200]

A million completed tasks, older than they are kept, and a steady load of creates, each a statement of its own, sent at
its time whether or not the one before is answered. Their latency, in turns: while nothing else happens, and while a
consumer's pruner deletes, at the pace at which it always does. Both phases alternate, so that what else the machine
does hits both alike; the p99 is the median of those of the phases, so that a burst of something else is not what it
tells.

Uses the PostgreSQL at DATABASE_URL, in a database of its own that is dropped at the end, and Redis at REDIS_URL; else
embedded servers, with fsync on.
"""

import argparse
import asyncio
import time
from contextlib import suppress
from statistics import median, quantiles
from uuid import uuid4

import asyncpg
from uuid_utils.compat import uuid7

from app.consumer.heartbeat import Lease
from app.consumer.pruner import Pruner
from app.core.retention import Retention
from app.core.task import NewTask
from app.db.engine import Database
from app.db.migrate import migrate
from app.queue.create import Creator
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup
from bench.databases import new_database
from bench.servers import bench_servers

KEPT = Retention.parse("30")
PHASE_SECONDS = 5.0

FILL = """
INSERT INTO tasks (id, kind, content, status, created_at, finished_at, claim_id, consumer_id)
SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
        || substr(md5(n::text), 4, 15))::uuid, 'simulate', '{"order": 17, "note": "as long as most of them are"}',
    'completed', to_timestamp(1700000000), to_timestamp(1700000001), gen_random_uuid(), gen_random_uuid()
FROM generate_series($1::int, $2::int) AS n
"""


async def create_steadily(creator: Creator, rate: int, seconds: float) -> list[float]:
    """The latency of each create, in milliseconds."""

    async def create(due: float) -> float:
        await creator.create([NewTask(uuid7(), "simulate", '{"order": 17}')])
        return (time.perf_counter() - due) * 1_000

    start = time.perf_counter()
    creates = []
    for number in range(int(rate * seconds)):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        creates.append(asyncio.create_task(create(due)))
    return list(await asyncio.gather(*creates))


def show(name: str, phases: list[list[float]]) -> None:
    """Print the percentiles: the median of those of the phases."""
    cuts = [quantiles(phase, n=100) for phase in phases]
    p50, p95, p99 = (median(cut[place] for cut in cuts) for place in (49, 94, 98))
    print(f"{name:<34}{sum(map(len, phases)):>8,}{p50:>9.2f}{p95:>9.2f}{p99:>9.2f}", flush=True)


async def measure(database_url: str, redis_url: str, tasks: int, rate: int) -> None:
    """All of it, in a database of its own."""
    async with new_database(database_url) as url:
        await asyncio.to_thread(migrate, "postgresql+asyncpg://" + url.partition("://")[2])
        sql = await asyncpg.connect(url)
        for first in range(0, tasks, 100_000):
            await sql.execute(FILL, first, min(first + 100_000, tasks) - 1)
        await sql.execute("VACUUM ANALYZE tasks")
        await compare(url, redis_url, tasks, rate, sql)
        await sql.close()


async def compare(url: str, redis_url: str, tasks: int, rate: int, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Print the latencies of each phase."""
    url = "postgresql+asyncpg://" + url.partition("://")[2]
    database, others = Database(url, 5, 10), Database(url, 5, 10)
    wakeup = Wakeup(redis_url, lambda _: None)
    creator = Creator(database, wakeup, FollowUp(database, wakeup, lambda _: None), lambda _: None)
    await create_steadily(creator, rate, 2)  # to warm up
    alone: list[list[float]] = []
    beside: list[list[float]] = []
    pruning_seconds = 0.0

    async def count() -> int:
        return int(await sql.fetchval("SELECT count(*) FROM tasks WHERE id < '018d0000-0000-0000-0000-000000000000'"))

    left = await count()
    while left > tasks // 5:
        alone.append(await create_steadily(creator, rate, PHASE_SECONDS))
        lease = Lease(uuid4())
        lease.held.set()
        await sql.execute("UPDATE walks SET due_at = now(), holder = NULL")
        pruner = asyncio.create_task(Pruner(others, lease, KEPT, lambda _: None).run())
        start = time.perf_counter()
        beside.append(await create_steadily(creator, rate, PHASE_SECONDS))
        pruner.cancel()
        with suppress(asyncio.CancelledError):
            await pruner
        pruning_seconds += time.perf_counter() - start
        left = await count()
    print(f"{rate} creates a second, ms: {'':<5}{'creates':>12}{'p50':>9}{'p95':>9}{'p99':>9}")
    show("nothing else", alone)
    show("beside the pruner", beside)
    print(f"  it deleted {tasks - left:,} tasks at {(tasks - left) / pruning_seconds:,.0f} a second")
    await wakeup.close()
    await database.close()
    await others.close()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.retention", description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000, help="that are old")
    parser.add_argument("--rate", type=int, default=200, help="creates a second")
    arguments = parser.parse_args()
    with bench_servers() as servers:
        asyncio.run(measure(servers.database_url, servers.redis_url, arguments.tasks, arguments.rate))


if __name__ == "__main__":
    main()
