"""PostgreSQL: durable inserts in batches from one Python process, COPY, and all that a task's life is in SQL."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
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

Ids = list[UUID] | list[str]
Batch = tuple[Ids, list[str], list[str], list[datetime]]
Step = Callable[[Connection, int], Awaitable[None]]


async def insert(connection: Connection, rows: int) -> None:
    """One statement, one commit."""
    await connection.execute(_INSERT, *_batch(random_ids(rows)))


async def insert_plainer(connection: Connection, rows: int) -> None:
    """The same, into the plainer table."""
    await connection.execute(_INSERT_PLAINER, *_batch(growing_ids(rows)))


async def copy(connection: Connection, rows: int) -> None:
    """The same by COPY."""
    ids, kinds, contents, times = _batch(random_ids(rows))
    records = zip(ids, kinds, ["pending"] * rows, contents, times, strict=True)
    await connection.copy_records_to_table("task", columns=COLUMNS, records=records)


async def live(connection: Connection, rows: int) -> None:
    """Insert, claim and complete: three statements, three commits."""
    batch = _batch(random_ids(rows))
    await connection.execute(_INSERT, *batch)
    await connection.execute(_MOVE, batch[0], "processing", "pending")
    await connection.execute(_MOVE, batch[0], "completed", "processing")


async def rate(url: str, step: Step, rows: int, connections: int, seconds: float) -> float:
    """Rows a second of this step, repeated on each of the connections of this process, on a fresh table."""
    opened = [await asyncpg.connect(url) for _ in range(connections)]
    await opened[0].execute(f"{FRESH}; {_ROOM}" if step is live else FRESH)
    begin = time.perf_counter()
    done = await repeat(opened, step, rows, seconds)
    took = time.perf_counter() - begin
    for connection in opened:
        await connection.close()
    return done / took


async def repeat(connections: Sequence[Connection], step: Step, rows: int, seconds: float) -> int:
    """Take this step over and over on each of the connections; the rows of all."""
    end = time.perf_counter() + seconds

    async def work(connection: Connection) -> int:
        done = 0
        while time.perf_counter() < end:
            await step(connection, rows)
            done += rows
        return done

    return sum(await asyncio.gather(*map(work, connections)))


def random_ids(rows: int) -> list[UUID]:
    """As most make them."""
    return [uuid4() for _ in range(rows)]


def growing_ids(rows: int) -> list[str]:
    """As Taskmill makes them: they grow with time."""
    return [str(uuid_utils.uuid7()) for _ in range(rows)]


def _batch(ids: Ids) -> Batch:
    rows, now = len(ids), datetime.now(UTC)
    return ids, ["noop"] * rows, [CONTENT] * rows, [now] * rows
