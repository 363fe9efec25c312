"""What POST /task/batch takes, of what PostgreSQL takes from one Python process.

    python -m bench.batch [--seconds 2] [--rounds 5]

The measure is `INSERT ... SELECT FROM unnest` of 1,000 rows a statement, on one connection of this process, into a
table with six columns and no index but its primary key. The same into `tasks`, with the statement of the service, is
what is left of that for the columns and indexes of tasks. Then one API process, as config/run/api.py starts it, takes
batches of 1,000 of the same content: JSON with one and two requests in flight, with an Idempotency-Key each, with a
priority for each item; and two streams of lines. In turns on one server, so that what else the machine does hits all
alike: read the ratios, which are of one round each. At the end, what the steps in the API cost.

Uses the PostgreSQL at DATABASE_URL, in a database of its own that is dropped at the end, and Redis at REDIS_URL; else
embedded servers, with fsync on.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from uuid import uuid4

import asyncpg
import uuid_utils
from pydantic_core import from_json

from app.api.batch_items import ItemChecker
from app.api.callback_url import CallbackUrls
from app.core.config import Settings
from app.db.engine import SESSION
from app.db.migrate import migrate
from app.handlers import Catalog
from app.queue import create_batch
from bench.servers import bench_servers
from tests.conftest import with_database
from tests.support.processes import Process, Service
from tests.support.types import Connection
from tests.support.wire import JSON, connect, request

ROWS = 1_000
CONTENT = {"to": "someone@example.org", "subject": "hello", "n": 12345, "pad": "x" * 30}
TEXT = json.dumps(CONTENT)
BARE = "INSERT INTO a table of six columns"
NDJSON = "Content-Type: application/x-ndjson"

MAKE_BARE = """
CREATE TABLE bare (id uuid PRIMARY KEY, kind text NOT NULL, status text NOT NULL, content jsonb NOT NULL,
    created_at timestamptz NOT NULL, updated_at timestamptz)
"""
_INSERT_BARE = """
INSERT INTO bare (id, kind, status, content, created_at)
SELECT i, k, 'pending', c::jsonb, t FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS u (i, k, c, t)
"""
_INSERT_TASKS = create_batch._CREATE_PLAIN  # noqa: SLF001 - measured as it is

Way = Callable[[float], Awaitable[int]]


async def insert_bare(connection: Connection, seconds: float) -> int:
    """Rows inserted in that time."""
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        now = datetime.now(UTC)
        ids = [uuid4() for _ in range(ROWS)]
        await connection.execute(_INSERT_BARE, ids, ["noop"] * ROWS, [TEXT] * ROWS, [now] * ROWS)
        count += ROWS
    return count


async def insert_tasks(connection: Connection, seconds: float) -> int:
    """The same for tasks."""
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        ids = [str(uuid_utils.uuid7()) for _ in range(ROWS)]
        await connection.fetch(_INSERT_TASKS, ids, ["simulate"] * ROWS, [TEXT] * ROWS, None, None)
        count += ROWS
    return count


async def post_arrays(url: str, seconds: float, *, in_flight: int = 2, priority: str | None = None, keyed: bool) -> int:
    """Tasks created in that time."""
    item = {"content": CONTENT} if priority is None else {"content": CONTENT, "priority": priority}
    body = json.dumps([item] * ROWS).encode()
    plain = request("POST", "/task/batch", JSON, body=body)
    end = time.perf_counter() + seconds

    async def client() -> int:
        count = 0
        async with connect(url) as wire:
            while time.perf_counter() < end:
                data = (
                    request("POST", "/task/batch", JSON, f"Idempotency-Key: {uuid4()}", body=body) if keyed else plain
                )
                answer = await wire.ask(data)
                if answer.status != 201:
                    raise RuntimeError(answer.body[:500])
                count += ROWS
        return count

    return sum(await asyncio.gather(*(client() for _ in range(in_flight))))


async def post_lines(url: str, seconds: float) -> int:
    """Tasks created in that time by two streams."""
    lines = (json.dumps({"content": CONTENT}) + "\n").encode() * ROWS
    chunk = b"%x\r\n%b\r\n" % (len(lines), lines)
    end = time.perf_counter() + seconds

    async def client() -> int:
        async with connect(url) as wire:
            await wire.send(request("POST", "/task/batch", NDJSON, "Transfer-Encoding: chunked", "Connection: close"))
            reading = asyncio.create_task(wire.rest())
            while time.perf_counter() < end:
                await wire.send(chunk)
            await wire.send(b"0\r\n\r\n")
            answer: bytes = await reading
            return answer.count(b'"status":"pending"')

    return sum(await asyncio.gather(client(), client()))


async def compare(
    ways: dict[str, Way], reset: Callable[[], Awaitable[object]], pid: int, seconds: float, rounds: int
) -> None:
    """Print tasks a second of each way, the ratios to the first one, and the API's own work, round by round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    work: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            await reset()
            start, used = time.perf_counter(), _cpu_seconds(pid)
            count = await ways[name](seconds if number else seconds / 4)
            if number:  # the first round is to warm up
                found[name].append(count / (time.perf_counter() - start))
                work[name].append((_cpu_seconds(pid) - used) / count * 1e6)
    print(f"{rounds} rounds of {seconds:g} s\n")
    print(f"{'':<40}{'rows/s: median (min-max)':<32}{'of the first':<20}µs of the API's CPU")
    for name, speeds in found.items():
        ratios = [speed / other for speed, other in zip(speeds, found[BARE], strict=True)]
        print(f"{name:<40}{_spread(speeds, ',.0f'):<32}{_spread(ratios, '.2f'):<20}{_spread(work[name], '.1f')}")


def _cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def time_steps(settings: Settings) -> None:
    """Print what the API's own steps cost an item."""
    catalog = Catalog.load(settings)
    checker = ItemChecker(catalog, "simulate", CallbackUrls(settings, catalog))
    body = json.dumps([{"content": CONTENT}] * ROWS).encode()
    items = from_json(body)
    steps: dict[str, Callable[[], object]] = {
        "parse": lambda: from_json(body),
        "check (shape, storable, payload)": lambda: checker.check(items),
        "ids": lambda: [str(uuid_utils.uuid7()) for _ in range(ROWS)],
    }
    print(f"\n{'a step in the API':<40}µs an item, best of 50")
    for name, step in steps.items():
        best = min(_timed(step) for _ in range(50))
        print(f"{name:<40}{best / ROWS * 1e6:.2f}")


def _timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


class Api(Service):
    """An API process as config/run/api.py starts it."""

    app: tuple[str, ...] = ("--factory", "app.main:create_app")

    def launch(self) -> Process:
        """Start it."""
        with socket.socket() as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
            listener.bind(("127.0.0.1", 0))
            listener.listen(512)
            fd = listener.fileno()
            command = [
                *(sys.executable, "-m", "uvicorn", *self.app, "--fd", str(fd)),
                *("--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log"),
                *("--log-config", "config/uvicorn.log.conf.yml", "--timeout-graceful-shutdown", "5"),
            ]
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            return self._start(command, pass_fds=(fd,))


async def measure(database_url: str, redis_url: str, seconds: float, rounds: int) -> None:
    """All of it, in a database of its own."""
    name = f"bench_{uuid4().hex}"
    admin = await asyncpg.connect(database_url)
    await admin.execute(f"CREATE DATABASE {name}")
    url = with_database(database_url, name)
    try:
        await asyncio.to_thread(migrate, "postgresql+asyncpg://" + url.partition("://")[2])
        connection = await asyncpg.connect(url, server_settings=dict(SESSION))
        await connection.execute(MAKE_BARE)
        async with Api(url, redis_url, log_level="warning") as api:
            process = api.launch()
            async with connect(api.url) as wire:
                await wire.ask(request("GET", "/livez"))
            ways: dict[str, Way] = {
                BARE: lambda s: insert_bare(connection, s),
                "the service's INSERT INTO tasks": lambda s: insert_tasks(connection, s),
                "arrays, one in flight": lambda s: post_arrays(api.url, s, in_flight=1, keyed=False),
                "arrays, two in flight": lambda s: post_arrays(api.url, s, keyed=False),
                "arrays, two, Idempotency-Key": lambda s: post_arrays(api.url, s, keyed=True),
                "arrays, two, with priorities": lambda s: post_arrays(api.url, s, priority="high", keyed=False),
                "lines, two streams": lambda s: post_lines(api.url, s),
            }
            await compare(ways, lambda: connection.execute("TRUNCATE bare, tasks"), process.pid, seconds, rounds)
        time_steps(Settings.model_validate({"database_url": url, "redis_url": redis_url}))
        await connection.close()
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.batch", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2, help="of each way in each round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with bench_servers() as servers:
        asyncio.run(measure(servers.database_url, servers.redis_url, arguments.seconds, arguments.rounds))


if __name__ == "__main__":
    main()
