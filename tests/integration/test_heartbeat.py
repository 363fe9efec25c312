"""The lease of a consumer whose PostgreSQL is far away."""

from app.core.events import LeaseLapsed
from tests.chaos.links import Link, through
from tests.conftest import quick_settings
from tests.support.consuming import consuming
from tests.support.proxy import upstream_of
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

_ONE_WAY_SECONDS = 0.06


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
        await until(lambda: sql.fetchval("SELECT every(beat_at > started_at) FROM consumers"))
    assert not events.of(LeaseLapsed)
    link.stop()
