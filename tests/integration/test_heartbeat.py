"""The lease of a consumer whose PostgreSQL is far away, or closes connections."""

import ctypes
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import datetime
from uuid import uuid4

import pytest

from app.core.config import Settings
from app.core.events import LeaseLapsed
from app.queue.recover import BEAT
from tests.chaos.links import Link, through
from tests.conftest import quick_settings
from tests.support.consuming import consuming
from tests.support.proxy import upstream_of
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

_ONE_WAY_SECONDS = 0.06
_ROUND_TRIPS = 3  # of a connection, at least
_BEAT_SECONDS = 0.5  # longer than a statement takes, shorter than a connection
_LEASE_SECONDS = 2
_FEW = 2  # times that a row of `consumers` may have had: of its registration, and of a single beat

_BEATS = "FROM pg_stat_activity AS activity, consumers WHERE datname = current_database() AND query = $1"
_OTHERS_LATER_BY = """
SELECT extract(epoch FROM min(others.backend_start) - beats.backend_start)::float8
FROM pg_stat_activity AS beats JOIN pg_stat_activity AS others USING (datname, application_name)
WHERE datname = current_database() AND beats.query = $1 AND others.query <> $1 GROUP BY beats.backend_start
"""
_SILENT = """
INSERT INTO consumers (id, host, pid, kinds, beat_at) VALUES ($1, 'gone', 1, '{}', now() - interval '1 hour')
"""


@pytest.fixture
async def far(database_url: str, redis_url: str) -> AsyncIterator[Settings]:
    """Of a consumer that is 0.12 s from PostgreSQL and back."""
    link = Link("far", upstream_of(database_url))
    await link.start()
    link.slow(_ONE_WAY_SECONDS)
    yield quick_settings(through(link, database_url), redis_url, beat_seconds=_BEAT_SECONDS, lease_seconds=6)
    link.stop()


async def test_a_first_connection_that_takes_longer_than_a_beat_may_is_made(far: Settings, sql: Connection) -> None:
    """It takes a dozen round trips, 1.3 s here, and no beat waits for it."""
    events = EventLog()
    async with consuming(far, events):
        await until(lambda: sql.fetchval("SELECT every(beat_at > started_at + interval '0.1 s') FROM consumers"))
    assert not events.of(LeaseLapsed)


async def test_a_lease_begins_when_there_is_a_connection_to_keep_it_by(far: Settings, sql: Connection) -> None:
    """Else a consumer that is slow to connect, as on a busy machine, is declared dead before its first beat."""
    async with consuming(far, EventLog()):
        await until(lambda: sql.fetchval(_OTHERS_LATER_BY, BEAT))
        others_later_by = await sql.fetchval(_OTHERS_LATER_BY, BEAT)
    assert others_later_by > _ROUND_TRIPS * 2 * _ONE_WAY_SECONDS  # the first of them is the one that registers


async def test_whose_connection_was_closed_buries_nobody_for_a_lease(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """Those of others were closed as well, perhaps, and they are not back yet."""
    settings = quick_settings(database_url, redis_url, beat_seconds=0.5, lease_seconds=_LEASE_SECONDS)
    silent, beats, back = uuid4(), defaultdict[int, set[datetime]](set), list[datetime]()

    async def has_beaten() -> bool:
        for pid, at in await sql.fetch(f"SELECT activity.pid, beat_at {_BEATS}", BEAT):
            beats[pid].add(at)
        return any(len(times) > _FEW for times in beats.values())

    async def is_back() -> bool:
        back[:] = [
            row[0] for row in await sql.fetch(f"SELECT backend_start {_BEATS} AND activity.pid <> {closed}", BEAT)
        ]
        return bool(back)

    async with consuming(settings, EventLog()):
        await until(has_beaten)
        closed = max(beats, key=lambda pid: len(beats[pid]))
        await sql.execute(f"SELECT pg_terminate_backend({closed})")
        await until(is_back)
        await sql.execute(_SILENT, silent)
        await until(lambda: sql.fetchval("SELECT NOT EXISTS (SELECT FROM consumers WHERE id = $1)", silent))
        buried_after = await sql.fetchval("SELECT extract(epoch FROM clock_timestamp() - $1)::float8", back[0])
    assert buried_after > _LEASE_SECONDS


async def test_who_was_frozen_and_was_not_buried_goes_on(database_url: str, redis_url: str, sql: Connection) -> None:
    """As by a library that keeps the interpreter to itself: its row is there, so its lease is."""
    settings = quick_settings(database_url, redis_url, beat_seconds=2, lease_seconds=6)
    events, beaten = EventLog(), "SELECT beat_at > $1 FROM consumers"
    async with consuming(settings, events):
        await until(lambda: sql.fetchval("SELECT EXISTS (SELECT FROM consumers)"))
        before = await sql.fetchval("SELECT beat_at FROM consumers")
        await until(lambda: sql.fetchval(beaten, before))  # so that it is not in the middle of a beat
        ctypes.PyDLL(None).usleep(4_500_000)  # with the interpreter's lock
        after = await sql.fetchval("SELECT clock_timestamp()")
        await until(lambda: sql.fetchval(beaten, after))
    assert not events.of(LeaseLapsed)
