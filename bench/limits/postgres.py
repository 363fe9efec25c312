"""PostgreSQL: durable inserts in batches from one Python process, COPY, and all that a task's life is in SQL.

What `rate` sends is made before the clock starts: that is a limit of PostgreSQL and its driver, not of making ids.
"""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID, uuid4

import asyncpg
import uuid_utils

from tests.support.types import Connection

CONTENT = json.dumps({"to": "someone@example.org", "subject": "hello", "n": 12345, "pad": "x" * 30})
COLUMNS = ("id", "kind", "status", "content", "created_at")

# No index on what changes. Rows of before, as in a table that is in use.
FRESH = """
DROP TABLE IF EXISTS task;
CREATE TABLE task (id uuid PRIMARY KEY, kind text NOT NULL, status text NOT NULL, content jsonb NOT NULL,
    created_at timestamptz NOT NULL, updated_at timestamptz);
INSERT INTO task SELECT gen_random_uuid(), 'noop', 'completed', '{}', now(), now() FROM generate_series(1, 20000);
ANALYZE task
"""
# In each page, for the two new versions of its rows.
_ROOM = "ALTER TABLE task SET (fillfactor = 50)"
_INSERT = """
INSERT INTO task (id, kind, status, content, created_at)
SELECT i, k, 'pending', c::jsonb, t FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS u (i, k, c, t)
"""
_MOVE = "UPDATE task SET status = $2, updated_at = now() WHERE id = ANY($1::uuid[]) AND status = $3"

# The same, without what a table may do without: content that is taken apart, and ids that hit all of the index.
PLAINER = """
DROP TABLE IF EXISTS plainer;
CREATE TABLE plainer (LIKE task INCLUDING ALL);
ALTER TABLE plainer ALTER content TYPE json USING content::json
"""
_INSERT_PLAINER = _INSERT.replace("INTO task", "INTO plainer").replace("::jsonb", "::json")

# A second: more than one Python process gets done.
_MOST_ROWS = 800_000
_MOST_STATEMENTS = 20_000

Id = UUID | str
Batch = tuple[list[Id], list[str], list[str], list[datetime]]  # ids, kinds, contents, times
Step = Callable[[Connection, Batch], Awaitable[None]]


async def insert(connection: Connection, batch: Batch) -> None:
    """One statement, one commit."""
    await connection.execute(_INSERT, *batch)


async def insert_plainer(connection: Connection, batch: Batch) -> None:
    """The same, into the plainer table."""
    await connection.execute(_INSERT_PLAINER, *batch)


async def copy(connection: Connection, batch: Batch) -> None:
    """The same by COPY."""
    ids, kinds, contents, times = batch
    records = zip(ids, kinds, ["pending"] * len(ids), contents, times, strict=True)
    await connection.copy_records_to_table("task", columns=COLUMNS, records=records)


async def live(connection: Connection, batch: Batch) -> None:
    """Insert, claim and complete: three statements, three commits."""
    await connection.execute(_INSERT, *batch)
    await connection.execute(_MOVE, batch[0], "processing", "pending")
    await connection.execute(_MOVE, batch[0], "completed", "processing")


async def rate(url: str, step: Step, rows: int, connections: int, seconds: float) -> float:
    """Rows a second of this step, repeated on each of the connections of this process, on a fresh table."""
    opened = [await asyncpg.connect(url) for _ in range(connections)]
    await opened[0].execute(f"{FRESH}; {_ROOM}" if step is live else FRESH)
    batches = batches_for(seconds, rows, random_id)
    begin = time.perf_counter()
    done = await repeat(opened, step, batches, seconds)
    took = time.perf_counter() - begin
    for connection in opened:
        await connection.close()
    return done / took


async def repeat(connections: Sequence[Connection], step: Step, batches: Iterable[Batch], seconds: float) -> int:
    """Take this step on each of the connections until the time is over, or all batches are used; the rows of all."""
    end = time.perf_counter() + seconds
    left = iter(batches)

    async def work(connection: Connection) -> int:
        done = 0
        while time.perf_counter() < end and (batch := next(left, None)):
            await step(connection, batch)
            done += len(batch[0])
        return done

    return sum(await asyncio.gather(*map(work, connections)))


def batches(rows: int, new_id: Callable[[], Id]) -> Iterator[Batch]:
    """Made one by one, as they are asked for."""
    kinds, contents, times = ["noop"] * rows, [CONTENT] * rows, [datetime.now(UTC)] * rows
    while True:
        yield [new_id() for _ in range(rows)], kinds, contents, times


def batches_for(seconds: float, rows: int, new_id: Callable[[], Id]) -> list[Batch]:
    """Made now, as many as can be of use in that time."""
    count = math.ceil(seconds * min(_MOST_STATEMENTS, _MOST_ROWS / rows))
    return list(islice(batches(rows, new_id), count))


def random_id() -> UUID:
    """As most make them."""
    return uuid4()


def growing_id() -> str:
    """As Taskmill makes them: they grow with time."""
    return str(uuid_utils.uuid7())
