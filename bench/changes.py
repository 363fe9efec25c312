"""What telling those who watch costs a consumer: tasks a second with it and without it, in turns.

    .venv/bin/python -m bench.changes [--rounds 5]

As bench.handlers, with handlers that do nothing; without it, the consumer runs with the telling taken out. Nobody
watches, and then one process does.
"""

import argparse
import asyncio
import statistics
import sys

from redis.asyncio import Redis

from app.queue.changes import CHANNEL
from bench.handlers import rate
from bench.servers import bench_servers
from bench.subject import Subject, running
from tests.support.processes import Process
from tests.support.servers import Servers

TASKS = 20_000
SILENT = "import app.queue.changes as c; c.Changes.add = lambda *_: None; "
RUN = "import runpy; runpy.run_module('app.consumer', run_name='__main__')"
WAYS = {"told to nobody": (False, False), "told to one": (False, True), "not told": (True, False)}  # silent, watched


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.changes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with bench_servers() as servers:
        asyncio.run(_measure(servers, rounds))


class Telling(Subject):
    """Taskmill, its consumer with the telling taken out if it is to be silent."""

    is_silent = False

    def launch_consumer(self, **settings: object) -> Process:
        """Start a consumer process, and wait for nothing."""
        env = {name.upper(): str(value) for name, value in settings.items()}
        return self._start(["-c", (SILENT if self.is_silent else "") + RUN], env=env)


async def _measure(servers: Servers, rounds: int) -> None:
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    async with running(Telling, servers, handler_modules="bench.kinds") as subject:
        await _run(subject, "not told")  # everything has been read from the disk once
        for number in range(rounds):
            for way in list(WAYS)[:: -1 if number % 2 else 1]:
                found[way].append(await _run(subject, way))
    sys.stdout.write(
        "| changes are | tasks/s: median (min-max) | consumer's CPU, µs a task: median (min-max) |\n|---|---:|---:|\n"
    )
    for way, pairs in found.items():
        cells = []
        for values, digits in (([speed for speed, _ in pairs], 0), ([cpu for _, cpu in pairs], 1)):
            cells.append(
                f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
            )
        sys.stdout.write(f"| {way} | {' | '.join(cells)} |\n")


async def _run(subject: Telling, way: str) -> tuple[float, float]:
    """Tasks a second, and µs of CPU a task."""
    subject.is_silent, is_watched = WAYS[way]
    async with Redis.from_url(subject.redis_url) as redis, redis.pubsub() as watching:
        if is_watched:
            await watching.subscribe(CHANNEL)
        return await rate(subject, "plain", TASKS)


if __name__ == "__main__":
    main()
