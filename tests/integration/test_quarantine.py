"""A consumer of suspects alone, in this process."""

import asyncio

from app.consumer.consumer import Consumer
from app.consumer.drain import StopRequest
from app.core.config import Settings
from app.core.events import TasksClaimed
from app.handlers import Catalog
from tests.integration.conftest import Insert
from tests.support.forking import fork_server
from tests.support.types import Connection
from tests.support.waiting import EventLog


async def test_one_that_is_stopped_claims_no_more(
    settings: Settings, events: EventLog, insert: Insert, sql: Connection
) -> None:
    """It ends with the suspect that it runs; the others are its successor's."""
    await insert(5, '{"simulate_seconds": 0.3}')
    await sql.execute("UPDATE tasks SET lost_count = 2")
    stop = StopRequest()
    consumer = asyncio.create_task(
        Consumer(settings, Catalog.load(settings), events, fork_server(), is_quarantine=True).run(stop)
    )
    await events.seen(TasksClaimed)
    stop()
    async with asyncio.timeout(10):
        await consumer
    rows = await sql.fetch("SELECT status, count(*) FROM tasks GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("completed", 1), ("pending", 4)]
