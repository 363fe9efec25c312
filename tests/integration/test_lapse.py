"""A lease that lapses while a consumer claims: from then on its tasks may be others', so none is begun."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from app.consumer.consumer import Consumer
from app.consumer.drain import StopRequest
from app.consumer.fetch import Fetcher
from app.core.config import Settings
from app.core.events import ConsumerStarted, HandlerStopped, TasksReleased
from app.handlers import Catalog
from tests.integration.conftest import LIST, SLOW_CLAIMS, Insert
from tests.support.forking import fork_server
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

LONG = '{"simulate_seconds": 60}'
SHORT = '{"simulate_seconds": 0}'

_IS_CLAIMING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


@dataclass
class Lapsing:
    """A consumer whose lease lapses, and is regained, when the test says so."""

    consumer: Consumer

    def lapse(self) -> None:
        """As its heartbeat would say it."""
        self.consumer._on_lapsed("no beat got through")

    def regain(self) -> None:
        """The same."""
        self.consumer._on_regained()


@pytest.fixture
async def lapsing(settings: Settings, events: EventLog) -> AsyncIterator[Lapsing]:
    """One that polls seldom, so that it waits for ids most of the time, and whose lease does not lapse by itself."""
    settings = settings.model_copy(update={"poll_seconds": 5, "lease_seconds": 60})
    consumer, stop = Consumer(settings, Catalog.load(settings), events, fork_server()), StopRequest()
    running = asyncio.create_task(consumer.run(stop))
    await events.seen(ConsumerStarted)
    yield Lapsing(consumer)
    stop()
    stop()
    async with asyncio.timeout(15):
        await running


async def test_what_a_claim_under_way_brings_goes_back(
    lapsing: Lapsing, events: EventLog, insert: Insert, redis: Redis, sql: Connection
) -> None:
    """Its answer comes after handlers were stopped: these are stopped as well, and no attempt counts."""
    await sql.execute(SLOW_CLAIMS)
    ids = await insert(20, LONG)
    await redis.rpush(LIST, *map(str, ids))
    await until(lambda: sql.fetch(_IS_CLAIMING))
    lapsing.lapse()
    released = await events.seen(TasksReleased)
    assert set(released.task_ids) <= set(ids)
    assert events.of(HandlerStopped) == []  # none had begun
    left = await sql.fetch("SELECT DISTINCT status, attempt FROM tasks WHERE id = ANY($1)", released.task_ids)
    assert [tuple(row) for row in left] == [("pending", 0)]


async def test_ids_that_come_meanwhile_wait_for_the_lease(
    lapsing: Lapsing, insert: Insert, redis: Redis, sql: Connection
) -> None:
    """Their pop was under way: they are claimed when the lease is held again, and not before."""
    database = str(redis.connection_pool.connection_kwargs["db"])

    async def is_popping() -> bool:
        clients = await redis.client_list()
        return any(client["db"] == database and "b" in client["flags"] for client in clients)

    async def is_popped() -> bool:
        return any(fetcher._hints for fetcher in lapsing.consumer._parts.fetchers if isinstance(fetcher, Fetcher))

    ids = await insert(1, SHORT)
    await until(is_popping)
    lapsing.lapse()
    await redis.rpush(LIST, str(ids[0]))
    await until(is_popped)
    assert await sql.fetchval("SELECT status FROM tasks") == "pending"
    lapsing.regain()
    await until(lambda: sql.fetch("SELECT FROM tasks WHERE status = 'completed'"))
