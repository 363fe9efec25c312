"""Quarantine processes of one consumer: the others see one that starts, and start none meanwhile."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from app.consumer.forks import Forks
from app.consumer.quarantine_pool import QuarantinePool
from app.db.engine import Database
from app.queue.recover import look, recover
from tests.integration.conftest import Insert
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

LEASE = 2.0
_LATER = "UPDATE consumers SET started_at = started_at - interval '1 minute', beat_at = beat_at - interval '1 minute'"


@pytest.fixture
async def pool(
    database: Database, forks: Forks, events: EventLog, insert: Insert, sql: Connection
) -> AsyncIterator[QuarantinePool]:
    """That of a consumer, with three suspects there. What it starts finds no settings, and would end by that."""
    await insert(3)
    await sql.execute("UPDATE tasks SET lost_count = 2")
    pool = QuarantinePool(database, forks, 2, events)
    yield pool
    await pool.close(0)


async def _has_suspects(database: Database) -> bool:
    return (await look(database, LEASE, ["simulate"])).has_suspects


async def test_while_one_starts_nobody_starts_another(
    pool: QuarantinePool, database: Database, sql: Connection
) -> None:
    """However long it takes, since whoever starts it beats for it; until it beats itself."""
    assert await _has_suspects(database)
    await pool.start_one()
    (process,) = pool._processes
    process.send_signal(signal.SIGSTOP)
    await sql.execute(_LATER)
    await pool.keep_starting()
    await recover(database, LEASE, 3)
    assert await sql.fetchval("SELECT count(*) FROM consumers") == 1
    assert not await _has_suspects(database)
    await sql.execute("UPDATE consumers SET pid = $1", process.pid)  # as it does itself
    await pool.keep_starting()
    assert pool._starting is None
    assert await _has_suspects(database)


async def test_one_that_ends_while_it_starts_keeps_nobody_waiting(
    pool: QuarantinePool, database: Database, sql: Connection
) -> None:
    """Whatever has ended it."""
    await pool.start_one()
    (process,) = pool._processes
    process.kill()
    await process.wait()
    await pool.keep_starting()
    assert await sql.fetchval("SELECT count(*) FROM consumers") == 0
    assert await _has_suspects(database)


async def test_one_whose_starter_has_died_is_buried(pool: QuarantinePool, database: Database, sql: Connection) -> None:
    """Nobody beats for it any more."""
    await pool.start_one()
    await sql.execute(_LATER)
    await recover(database, LEASE, 3)
    assert await sql.fetchval("SELECT count(*) FROM consumers") == 0


async def test_one_that_ends_with_its_consumer_while_it_starts_keeps_nobody_waiting(
    pool: QuarantinePool, database: Database, sql: Connection
) -> None:
    """Nobody beats for it any more, and for a lease others would take it for one that starts."""
    await pool.start_one()
    await pool.close(0)
    assert await sql.fetchval("SELECT count(*) FROM consumers") == 0
    assert await _has_suspects(database)


async def test_one_that_starts_while_its_consumer_stops_is_told_so(pool: QuarantinePool, sql: Connection) -> None:
    """Else it would be killed at the end, and its suspect with it: for the last time."""
    async with sql.transaction():
        await sql.execute("LOCK TABLE consumers IN EXCLUSIVE MODE")
        starting = asyncio.create_task(pool.start_one())
        await until(lambda: sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        pool.stop()
    await starting
    (process,) = pool._processes
    async with asyncio.timeout(10):
        assert await process.wait() == -signal.SIGTERM
