"""The lease of a consumer whose PostgreSQL is far away, or closes connections."""

from uuid import uuid4

from app.core.events import LeaseLapsed
from app.queue.recover import BEAT
from tests.chaos.links import Link, through
from tests.conftest import quick_settings
from tests.support.consuming import consuming
from tests.support.proxy import upstream_of
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

_ONE_WAY_SECONDS = 0.06
_LEASE_SECONDS = 2

_BEATS = "FROM pg_stat_activity WHERE datname = current_database() AND query = $1"
_WATCH_REGISTERED = """
CREATE TABLE registered (could_beat boolean NOT NULL);
CREATE FUNCTION note_registered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO registered SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'UPDATE consumers SET beat_at = clock_timestamp()%');
    RETURN NULL;
END $$;
CREATE TRIGGER note_registered AFTER INSERT ON consumers FOR EACH ROW EXECUTE FUNCTION note_registered();
"""
_SILENT = (
    "INSERT INTO consumers (id, host, pid, kinds, beat_at) VALUES ($1, 'gone', 1, '{}', now() - interval '1 hour')"
)


async def test_a_connection_that_takes_longer_than_a_beat_may_is_made(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """A dozen round trips of 0.12 s, where a beat is given up after 1 s: the next one has what this one began."""
    link = Link("far", upstream_of(database_url))
    await link.start()
    link.slow(_ONE_WAY_SECONDS)
    settings = quick_settings(through(link, database_url), redis_url, beat_seconds=1, lease_seconds=6)
    events = EventLog()
    async with consuming(settings, events):
        await until(lambda: sql.fetchval("SELECT every(beat_at > started_at + interval '0.1 s') FROM consumers"))
    assert not events.of(LeaseLapsed)
    link.stop()


async def test_a_lease_begins_when_there_is_a_connection_to_keep_it_by(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """Else a consumer that is slow to connect, as on a busy machine, is declared dead before its first beat."""
    await sql.execute(_WATCH_REGISTERED)
    async with consuming(quick_settings(database_url, redis_url), EventLog()):
        await until(lambda: sql.fetchval("SELECT EXISTS (SELECT FROM registered)"))
    assert await sql.fetchval("SELECT every(could_beat) FROM registered")


async def test_whose_connection_was_closed_buries_nobody_for_a_lease(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """Those of others were closed as well, perhaps, and they are not back yet."""
    settings = quick_settings(database_url, redis_url, beat_seconds=0.2, lease_seconds=_LEASE_SECONDS)
    silent = uuid4()
    async with consuming(settings, EventLog()):
        await until(lambda: sql.fetchval(f"SELECT EXISTS (SELECT {_BEATS})", BEAT))
        closed = await sql.fetchval(f"SELECT pid {_BEATS}", BEAT)
        await sql.execute(f"SELECT pg_terminate_backend({closed})")
        await until(lambda: sql.fetchval(f"SELECT EXISTS (SELECT {_BEATS} AND pid <> {closed})", BEAT))
        back = await sql.fetchval(f"SELECT backend_start {_BEATS} AND pid <> {closed}", BEAT)
        await sql.execute(_SILENT, silent)
        await until(lambda: sql.fetchval("SELECT NOT EXISTS (SELECT FROM consumers WHERE id = $1)", silent))
        buried_after = await sql.fetchval("SELECT extract(epoch FROM clock_timestamp() - $1)::float8", back)
    assert buried_after > _LEASE_SECONDS
