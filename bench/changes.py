"""What telling those who watch costs a consumer: tasks a second with it and without it, in turns.

    .venv/bin/python -m bench.changes [--rounds 5]

As bench.handlers, with handlers that do nothing; without it, the consumer runs with the telling taken out. Nobody
watches, and then one process does.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from app.queue.changes import CHANNEL
from bench.handlers import FILL, RATE, RESET, ROOT
from bench.servers import migrated_servers

TASKS = 20_000
SILENT = "import app.queue.changes as c; c.Changes.add = lambda *_: None; "
RUN = "import runpy; runpy.run_module('app.consumer', run_name='__main__')"
WAYS = {"told to nobody": (RUN, False), "told to one": (RUN, True), "not told": (SILENT + RUN, False)}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.changes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with migrated_servers():
        asyncio.run(_measure(rounds))


async def _measure(rounds: int) -> None:
    sql = await asyncpg.connect(os.environ["DATABASE_URL"])
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    await _run(sql, "not told")  # everything has been read from the disk once
    for number in range(rounds):
        for way in list(WAYS)[:: -1 if number % 2 else 1]:
            found[way].append(await _run(sql, way))
    await sql.close()
    sys.stdout.write(
        "| changes are | tasks/s: median (min-max) | consumer's CPU, µs a task: median (min-max) |\n|---|---:|---:|\n"
    )
    for way, pairs in found.items():
        cells = []
        for values, digits in (([rate for rate, _ in pairs], 0), ([cpu for _, cpu in pairs], 1)):
            cells.append(
                f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
            )
        sys.stdout.write(f"| {way} | {' | '.join(cells)} |\n")


async def _run(sql: "asyncpg.Connection[asyncpg.Record]", way: str) -> tuple[float, float]:
    """Tasks a second, and µs of CPU a task."""
    code, is_watched = WAYS[way]
    await sql.execute(RESET)
    await sql.execute(FILL, "plain", TASKS)
    await sql.execute("VACUUM ANALYZE tasks")
    settings = {"HANDLER_MODULES": "bench.kinds", "LOG_LEVEL": "warning"}
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis, redis.pubsub() as watching:
        if is_watched:
            await watching.subscribe(CHANNEL)
        consumer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=os.environ | settings)  # noqa: ASYNC220
        try:
            give_up = time.monotonic() + 120
            while await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'completed'") < TASKS:
                if time.monotonic() > give_up or consumer.poll() is not None:
                    raise RuntimeError("the tasks do not get done")
                await asyncio.sleep(0.2)
            return float(await sql.fetchval(RATE)), _cpu_seconds(consumer.pid) * 1e6 / TASKS
        finally:
            consumer.terminate()
            consumer.wait()


def _cpu_seconds(pid: int) -> float:
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
