"""What progress, a checkpoint and process isolation cost a task, against a plain handler in the same run.

    .venv/bin/python -m bench.handlers [--rounds 3]

One consumer process with default settings; the kinds in turns, backwards in every other round. The rate is of tasks
that are there already, from the first start to the last end; medians, and the range over the rounds. Servers are
those of DATABASE_URL and REDIS_URL (the database is emptied!), else embedded ones.
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

from bench.servers import migrated_servers

ROOT = Path(__file__).parents[1]
KINDS = {
    "plain": ("nothing", 20_000),
    "with_progress": ("10 words of progress", 20_000),
    "with_checkpoint": ("one checkpoint", 4_000),
    "with_row": ("one checkpoint that inserts a row", 4_000),
    "isolated": ("nothing, in a child process", 2_000),
}
RESET = "TRUNCATE tasks, consumers; DROP TABLE IF EXISTS bench_rows; CREATE TABLE bench_rows (n int)"
FILL = "INSERT INTO tasks (id, kind, content) SELECT gen_random_uuid(), $1, '{}' FROM generate_series(1, $2::int)"
RATE = "SELECT count(*) / extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM tasks"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.handlers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with migrated_servers():
        _print(asyncio.run(_measure(rounds)))


async def _measure(rounds: int) -> dict[str, list[float]]:
    sql = await asyncpg.connect(os.environ["DATABASE_URL"])
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    await _rate(sql, "isolated", 10)  # everything has been read from the disk once
    for number in range(rounds):
        for kind in list(KINDS)[:: -1 if number % 2 else 1]:
            rates[kind].append(await _rate(sql, kind, KINDS[kind][1]))
    await sql.close()
    return rates


async def _rate(sql: "asyncpg.Connection[asyncpg.Record]", kind: str, count: int) -> float:
    await sql.execute(RESET)
    await sql.execute(FILL, kind, count)
    await sql.execute("VACUUM ANALYZE tasks")
    settings = {"HANDLER_MODULES": "bench.kinds", "LOG_LEVEL": "warning"}
    consumer = subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on here
        [sys.executable, "-m", "app.consumer"], cwd=ROOT, env=os.environ | settings
    )
    try:
        give_up = time.monotonic() + 120
        while await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'completed'") < count:
            if time.monotonic() > give_up or consumer.poll() is not None:
                raise RuntimeError(f"{kind} does not get done")
            await asyncio.sleep(0.2)
        return float(await sql.fetchval(RATE))
    finally:
        consumer.terminate()
        consumer.wait()


def _print(rates: dict[str, list[float]]) -> None:
    plain = statistics.median(rates["plain"])
    lines = ["| the handler does | tasks/s: median (min-max) | of plain | µs more a task |", "|---|---:|---:|---:|"]
    for kind, (words, _) in KINDS.items():
        median = statistics.median(rates[kind])
        spread = f"{min(rates[kind]):,.0f}-{max(rates[kind]):,.0f}"
        more = 1e6 / median - 1e6 / plain
        lines.append(f"| {words} | {median:,.0f} ({spread}) | {median / plain:.3f} | {more:,.0f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
