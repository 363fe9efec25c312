"""The limits of PostgreSQL and Redis on this machine.

python -m bench.limits.measure [--seconds 2] [--rounds 3]
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from bench.contender import Figure, Missing, Tell, Unable
from bench.databases import new_database
from bench.limits import pgbench, postgres, redis
from bench.servers import tcp_servers
from tests.support.servers import Servers

Way = Callable[[str, float], Awaitable[float]]  # at this address, for so many seconds: so many a second


def _postgres() -> dict[str, tuple[str, Way]]:
    """The unit and the way, by what is measured."""
    ways: dict[str, tuple[str, Way]] = {}
    for clients in (1, 16, 64):
        ways[f"pgbench: INSERT of 1 row, {clients} connections"] = "rows/s", _pgbench(clients)
    for rows in (1, 100, 1_000):
        for connections in (1, 4):
            what = f"asyncpg: INSERT from unnest of {rows:,} rows, {connections} connections"
            ways[what] = "rows/s", _step(postgres.insert, rows, connections)
    for connections in (1, 4):
        ways[f"asyncpg: COPY of 1,000 rows, {connections} connections"] = (
            "rows/s",
            _step(postgres.copy, 1_000, connections),
        )
    for rows in (100, 500):
        for connections in (1, 4):
            what = f"asyncpg: insert, claim and complete {rows} tasks, {connections} connections"
            ways[what] = "tasks/s", _step(postgres.live, rows, connections)
    return {what.replace(" 1 connections", " 1 connection"): way for what, way in ways.items()}


def _pgbench(clients: int) -> Way:
    return lambda url, seconds: pgbench.inserts(url, clients, seconds)


def _step(step: postgres.Step, rows: int, connections: int) -> Way:
    return lambda url, seconds: postgres.rate(url, step, rows, connections, seconds)


OF_POSTGRES = _postgres()
OF_REDIS: dict[str, tuple[str, Way]] = {
    "redis-benchmark: RPUSH, 50 connections": ("commands/s", lambda url, s: redis.benchmark(url, 1, s)),
    "redis-benchmark: RPUSH, 50 connections, pipelines of 16": (
        "commands/s",
        lambda url, s: redis.benchmark(url, 16, s),
    ),
    "redis-py: RPUSH of 1 value": ("values/s", lambda url, s: redis.pushes(url, 1, s)),
    "redis-py: RPUSH of 100 values": ("values/s", lambda url, s: redis.pushes(url, 100, s)),
    "redis-py: pipeline of 100 RPUSH": ("commands/s", lambda url, s: redis.pipelines(url, 100, s)),
}


async def measure_limits(servers: Servers, rounds: int, seconds: float, tell: Tell) -> None:
    """All of them in turns, round by round. `tell` is given each figure as it is found."""
    async with new_database(servers.database_url) as url:
        places = [(url, OF_POSTGRES), (servers.redis_url, OF_REDIS)]
        for number in range(rounds):
            for place, ways in places:
                for what, (unit, way) in ways.items():
                    tell(await _tried(what, unit, way(place, seconds), number))


async def _tried(what: str, unit: str, value: Awaitable[float], number: int) -> Figure | Missing:
    subject, _, measure = what.partition(": ")
    try:
        return Figure(subject, measure, unit, await value, number)
    except Unable as error:
        return Missing(subject, measure, str(error))


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits.measure", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2, help="of each in each round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end too
    with tcp_servers() as servers:
        asyncio.run(measure_limits(servers, arguments.rounds, arguments.seconds, lambda one: print(one, flush=True)))


if __name__ == "__main__":
    main()
