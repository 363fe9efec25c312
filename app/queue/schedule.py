"""Schedules: put, read, delete. Their ticks are made in queue/tick.py.

Small statements, some of them several in a transaction: schedules are few and seldom change.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from app.core.errors import ScheduleDeclaredError
from app.core.schedule import NewSchedule, Schedule
from app.db.engine import Database

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

_DECLARE_LOCK = 0x7A61

# In the order of core/schedule.py's Schedule.
_COLUMNS = """
name, id, cron, timezone, kind, content::text, missed, enabled, is_declared, next_run_at, last_run_at, last_task_id,
created_at, updated_at
"""

# Primary key. A tick that is being made meanwhile is waited for, so that the next one is never taken back.
_LOCK = f"SELECT {_COLUMNS} FROM schedules WHERE name = $1 FOR UPDATE"

# A statement of its own, after the lock: now() would be the time before the wait.
_CLOCK = "SELECT clock_timestamp()"

_INSERT = f"""
INSERT INTO schedules (name, id, cron, timezone, kind, content, missed, enabled, is_declared, next_run_at)
VALUES ($1, $2, $3, $4, $5, $6::text::json, $7, $8, $9, $10)
ON CONFLICT (name) DO NOTHING
RETURNING {_COLUMNS}
"""
_UPDATE = f"""
UPDATE schedules SET cron = $2, timezone = $3, kind = $4, content = $5::text::json, missed = $6, enabled = $7,
    is_declared = $8, next_run_at = $9, updated_at = clock_timestamp()
WHERE name = $1
RETURNING {_COLUMNS}
"""

_READ = f"SELECT {_COLUMNS}, clock_timestamp() FROM schedules WHERE name = $1"
_LIST = f"SELECT {_COLUMNS}, clock_timestamp() FROM schedules WHERE name > $1 ORDER BY name LIMIT $2"
_DELETE = "DELETE FROM schedules WHERE name = $1"
_DELETE_UNDECLARED = "DELETE FROM schedules WHERE is_declared AND name <> ALL($1::text[])"


async def put_schedule(database: Database, new: NewSchedule) -> tuple[Schedule, datetime, bool]:
    """Make a schedule, or change the one of this name; it, PostgreSQL's time, and whether it is new.

    A change of when it runs, or enabling it, counts from now: what was due before is not made up for. Any other change
    leaves the next tick as it is, and putting it as it was changes nothing. Raises ScheduleDeclaredError and
    DatabaseUnavailableError; the call may be repeated.
    """
    async with database.connection() as connection, connection.transaction():
        return await _put(connection, new, is_declared=False)


async def declare_schedules(database: Database, declared: Iterable[NewSchedule]) -> None:
    """Have the declared schedules be exactly these. One that was put by a client is taken over.

    Each consumer does it when it starts, one after the other. Raises DatabaseUnavailableError; may be repeated.
    """
    by_name = {new.name: new for new in declared}
    async with database.connection() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _DECLARE_LOCK)
        for name in sorted(by_name):
            await _put(connection, by_name[name], is_declared=True)
        await connection.execute(_DELETE_UNDECLARED, list(by_name))


async def read_schedule(database: Database, name: str) -> tuple[Schedule, datetime] | None:
    """A schedule, and PostgreSQL's time."""
    rows = await database.fetch(_READ, name)
    return (Schedule(*rows[0][:-1]), rows[0][-1]) if rows else None


async def list_schedules(database: Database, after: str, limit: int) -> list[tuple[Schedule, datetime]]:
    """Up to `limit` schedules whose names come after this one, by name, each with PostgreSQL's time."""
    return [(Schedule(*row[:-1]), row[-1]) for row in await database.fetch(_LIST, after, limit)]


async def delete_schedule(database: Database, name: str) -> bool:
    """Delete a schedule; False where there is none. Tasks that it made stay. Raises ScheduleDeclaredError."""
    async with database.connection() as connection, connection.transaction():
        schedule = await _lock(connection, name)
        if schedule is None:
            return False
        if schedule.is_declared:
            raise ScheduleDeclaredError
        await connection.execute(_DELETE, name)
        return True


async def _put(connection: "Connection", new: NewSchedule, *, is_declared: bool) -> tuple[Schedule, datetime, bool]:
    when, what = new.recurrence, (new.kind, new.content, new.missed, new.enabled, is_declared)
    while True:
        was = await _lock(connection, new.name)
        now: datetime = await connection.fetchval(_CLOCK)
        next_run_at = when.next(now)
        if was is None:
            rows = await connection.fetch(_INSERT, new.name, uuid4(), when.cron, when.timezone, *what, next_run_at)
            if rows:
                return Schedule(*rows[0]), now, True
            continue  # somebody made it in between: now it can be locked
        if was.is_declared and not is_declared:
            raise ScheduleDeclaredError
        is_as_before = (was.cron, was.timezone, was.enabled) == (when.cron, when.timezone, new.enabled)
        if is_as_before and (was.kind, was.content, was.missed, was.enabled, was.is_declared) == what:
            return was, now, False
        if is_as_before:
            next_run_at = was.next_run_at
        rows = await connection.fetch(_UPDATE, new.name, when.cron, when.timezone, *what, next_run_at)
        return Schedule(*rows[0]), now, False


async def _lock(connection: "Connection", name: str) -> Schedule | None:
    row = await connection.fetchrow(_LOCK, name)
    return None if row is None else Schedule(*row)
