"""Batches of creates beside PostgreSQL's own bulk insert: the same contents, as many connections as requests."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from uuid import uuid4

import asyncpg

from app.db.engine import SESSION
from app.queue import create_batch
from bench.limits.postgres import (
    CONTENT,
    FRESH,
    PLAINER,
    Batch,
    Id,
    Step,
    batches,
    batches_for,
    growing_id,
    insert,
    insert_plainer,
    random_id,
    repeat,
)
from bench.run import Run
from bench.subject import Subject, running
from bench.usage import cpu_seconds
from tests.support.types import Connection
from tests.support.wire import JSON, connect, request

ROWS = 1_000
IN_FLIGHT = 2
LIMIT = "INSERT ... unnest of 1,000, two connections"
_LIMIT_ONE = "INSERT ... unnest of 1,000, one connection"
MADE_BEFORE = "the same, all ids made before the clock starts"
LIKE_FOR_LIKE = "that with json and growing ids"
_INSERT_TASKS = create_batch._CREATE_PLAIN  # noqa: SLF001 - measured as it is
_KINDS = ["simulate"] * ROWS

Way = Callable[[float], Awaitable[int]]  # for so many seconds: rows


async def measure_batches(run: Run) -> None:
    """In turns on one server, each into empty tables."""
    async with AsyncExitStack() as stack:
        subject = await stack.enter_async_context(running(Subject, run.servers))
        await subject.sql.execute(f"{FRESH}; {PLAINER}")
        connections = [await _connect(stack, subject) for _ in range(IN_FLIGHT)]
        of_server: dict[str, Way] = {
            LIMIT: lambda seconds: repeat(connections, insert, batches(ROWS, random_id), seconds),
            _LIMIT_ONE: lambda seconds: repeat(connections[:1], insert, batches(ROWS, random_id), seconds),
            MADE_BEFORE: _repeated(connections, insert, random_id),
            LIKE_FOR_LIKE: _repeated(connections, insert_plainer, growing_id),
            "Taskmill's own statement and table": _repeated(connections, _insert_tasks, growing_id),
        }
        of_api: dict[str, Way] = {
            "Taskmill": lambda seconds: _post_arrays(subject.url, seconds),
            "Taskmill, one in flight": lambda seconds: _post_arrays(subject.url, seconds, in_flight=1),
            "Taskmill, Idempotency-Key": lambda seconds: _post_arrays(subject.url, seconds, keyed=True),
            "Taskmill, a priority in each item": lambda seconds: _post_arrays(subject.url, seconds, priority="high"),
            "Taskmill, lines (NDJSON), two streams": lambda seconds: _post_lines(subject.url, seconds),
        }
        ways = of_server | of_api

        async def once(name: str, number: int) -> None:
            await subject.sql.execute("TRUNCATE task, plainer, tasks")
            if not number:  # to warm up: statements that are planned, code that has been used
                await ways[name](run.dose.batch_seconds / 4)
            working = ways[name](run.dose.batch_seconds)
            used, begin = cpu_seconds([subject.api.pid]), time.perf_counter()
            rows = await working
            run.add(name, "batch", "1/s", rows / (time.perf_counter() - begin), number)
            if name in of_api:
                run.add(name, "batch_cpu", "µs", 1e6 * (cpu_seconds([subject.api.pid]) - used) / rows, number)

        await run.take_turns(list(ways), run.dose.deciding_rounds, once, str)


async def _connect(stack: AsyncExitStack, subject: Subject) -> Connection:
    """As the API has them."""
    connection = await asyncpg.connect(subject.env["DATABASE_URL"], server_settings=dict(SESSION))
    stack.push_async_callback(connection.close)
    return connection


def _repeated(connections: Sequence[Connection], step: Step, new_id: Callable[[], Id]) -> Way:
    """What it sends is made when it is called, and it starts when it is awaited."""
    return lambda seconds: repeat(connections, step, batches_for(seconds, ROWS, new_id), seconds)


async def _insert_tasks(connection: Connection, batch: Batch) -> None:
    """The service's own statement."""
    ids, _, contents, _ = batch
    plain = create_batch.PlainTasks([str(each) for each in ids], _KINDS, contents, None, None)
    await connection.fetch(_INSERT_TASKS, *create_batch.plain_lines(plain))


async def _post_arrays(
    url: str, seconds: float, *, in_flight: int = IN_FLIGHT, priority: str | None = None, keyed: bool = False
) -> int:
    item = {"content": json.loads(CONTENT)} | ({} if priority is None else {"priority": priority})
    body = json.dumps([item] * ROWS).encode()
    end = time.perf_counter() + seconds

    async def client() -> int:
        count = 0
        async with connect(url) as wire:
            while time.perf_counter() < end:
                headers = (JSON, f"Idempotency-Key: {uuid4()}") if keyed else (JSON,)
                answer = await wire.ask(request("POST", "/task/batch", *headers, body=body))
                if answer.status != 201:
                    raise RuntimeError(f"a batch is answered {answer.status}: {answer.body[:200]!r}")
                count += ROWS
        return count

    return sum(await asyncio.gather(*(client() for _ in range(in_flight))))


async def _post_lines(url: str, seconds: float) -> int:
    lines = (json.dumps({"content": json.loads(CONTENT)}) + "\n").encode() * ROWS
    chunk = b"%x\r\n%b\r\n" % (len(lines), lines)
    headers: Sequence[str] = ("Content-Type: application/x-ndjson", "Transfer-Encoding: chunked", "Connection: close")
    end = time.perf_counter() + seconds

    async def client() -> int:
        async with connect(url) as wire:
            await wire.send(request("POST", "/task/batch", *headers))
            reading = asyncio.create_task(wire.rest())
            while time.perf_counter() < end:
                await wire.send(chunk)
            await wire.send(b"0\r\n\r\n")
            answer: bytes = await reading
            return answer.count(b'"status":"pending"')

    return sum(await asyncio.gather(*(client() for _ in range(IN_FLIGHT))))
