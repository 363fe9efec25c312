"""What progress, a checkpoint and process isolation cost a task, against a plain handler in the same run.

    .venv/bin/python -m bench.handlers [--rounds 3]

One consumer process with default settings; the kinds in turns, backwards in every other round. The rate is of tasks
that are there already, from the first start to the last end; medians, and the range over the rounds. Servers are
those of DATABASE_URL and REDIS_URL, with a database that is dropped at the end, else embedded ones.
"""

import argparse
import asyncio
import statistics
import sys

from bench.servers import bench_servers
from bench.subject import Subject, running
from tests.support.servers import Servers
from tests.support.waiting import until

KINDS = {
    "plain": ("nothing", 20_000),
    "with_progress": ("10 words of progress", 20_000),
    "with_checkpoint": ("one checkpoint", 4_000),
    "with_row": ("one checkpoint that inserts a row", 4_000),
    "isolated": ("nothing, in a child process", 2_000),
}
_FILL = "INSERT INTO tasks (id, kind, content) SELECT gen_random_uuid(), $1, '{}' FROM generate_series(1, $2::int)"
_COMPLETED = "SELECT count(*) FROM tasks WHERE status = 'completed'"
_RATE = "SELECT count(*) / extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM tasks"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.handlers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with bench_servers() as servers:
        _print(asyncio.run(_measure(servers, rounds)))


async def _measure(servers: Servers, rounds: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with running(Subject, servers, handler_modules="bench.kinds") as subject:
        await rate(subject, "isolated", 10)  # everything has been read from the disk once
        for number in range(rounds):
            for kind in list(KINDS)[:: -1 if number % 2 else 1]:
                rates[kind].append((await rate(subject, kind, KINDS[kind][1]))[0])
    return rates


async def rate(subject: Subject, kind: str, count: int) -> tuple[float, float]:
    """Tasks a second of one consumer that finds so many of this kind, and µs of its CPU for each."""
    await subject.empty()
    await subject.sql.execute("DROP TABLE IF EXISTS bench_rows; CREATE TABLE bench_rows (n int)")
    try:
        await subject.start_consumers()
        subject.pause(is_paused=True)
        await subject.sql.execute(_FILL, kind, count)
        await subject.sql.execute("VACUUM ANALYZE tasks")
        used = subject.consumer_cpu()
        subject.pause(is_paused=False)

        async def fact() -> bool:
            return int(await subject.sql.fetchval(_COMPLETED)) == count

        await until(fact, 120, 0.2)
        return float(await subject.sql.fetchval(_RATE)), 1e6 * (subject.consumer_cpu() - used) / count
    finally:
        await subject.stop_consumers()


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
