"""A whole consumer in this process: cancels in time, and answers that get lost on the way."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from statistics import quantiles
from uuid import UUID

import pytest
from redis.asyncio import Redis

from app.consumer import parts
from app.consumer.consumer import Consumer
from app.consumer.drain import StopRequest
from app.core.config import Settings
from app.core.events import (
    HandlerStopped,
    LeaseLapsed,
    LeaseRegained,
    TasksClaimed,
    TasksCompleted,
    TasksReleased,
)
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.cancel import Canceler
from app.queue.follow_up import FollowUp
from app.queue.listen import CANCELED
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.integration.conftest import LIST, SLOW_CLAIMS, Insert
from tests.support.consuming import consuming
from tests.support.forking import fork_server
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

Count = Callable[[int, str], Callable[[], Awaitable[object]]]

# The arguments of the poll's claim on the wire: a consumer's id, and how many.
_CLAIM_DUE = re.compile(rb"\0\0\0\x10.{16}\0\0\0\x08", re.DOTALL)

LONG = '{"simulate_seconds": 60}'
SHORT = '{"simulate_seconds": 0}'


@pytest.fixture
def count(sql: Connection) -> Count:
    """Build a fact: so many tasks have this status."""

    def fact(number: int, status: str) -> Callable[[], Awaitable[object]]:
        async def is_so() -> bool:
            return bool(await sql.fetchval("SELECT count(*) FROM tasks WHERE status = $1", status) == number)

        is_so.__doc__ = f"{number} tasks are {status}"
        return is_so

    return fact


async def _cancel_latencies(events: EventLog, canceler: Canceler, ids: list[UUID]) -> list[float]:
    """Seconds from each cancel's answer until its handler has stopped."""
    loop = asyncio.get_running_loop()

    async def one(task_id: UUID) -> float:
        await canceler.cancel([task_id])
        answered = loop.time()
        await events.seen(HandlerStopped, lambda event: event.task_id == task_id)
        return loop.time() - answered

    return [await one(task_id) for task_id in ids]


async def test_a_claim_that_does_not_come_in_time_is_made_smaller(
    settings: Settings,
    events: EventLog,
    insert: Insert,
    sql: Connection,
    count: Count,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rolled back and asked for again as it was, it would never be done: as of contents of a megabyte each."""
    monkeypatch.setattr(parts, "_STATEMENT_SECONDS", 0.5)
    await insert(40, SHORT)
    await sql.execute(SLOW_CLAIMS)
    async with consuming(settings.model_copy(update={"consumer_concurrency": 100}), events):
        await until(count(40, "completed"), 30)


async def test_cancel_stops_running_handlers_within_250_ms(
    settings: Settings, events: EventLog, canceler: Canceler, insert: Insert, redis: Redis
) -> None:
    """p99 of 200 cancels, one after the other, of handlers that sleep."""
    settings = settings.model_copy(update={"consumer_concurrency": 200})
    async with consuming(settings, events):
        ids = await insert(200, LONG)
        await events.seen(TasksClaimed, lambda event: ids[-1] in event.task_ids)

        async def is_subscribed() -> bool:
            return bool((await redis.pubsub_numsub(CANCELED))[0][1])

        await until(is_subscribed)
        assert quantiles(await _cancel_latencies(events, canceler, ids), n=100)[98] < 0.25


async def test_cancel_reaches_a_handler_without_redis(
    database_url: str, redis_proxy: Proxy, database: Database, insert: Insert, count: Count
) -> None:
    """No message gets through: the next beat finds the row canceled."""
    events = EventLog()
    settings = quick_settings(database_url, redis_proxy.url)
    await redis_proxy.stop()
    wakeup = Wakeup(redis_proxy.url, events)
    async with consuming(settings, events):
        ids = await insert(5, LONG)
        await until(count(5, "processing"))
        latencies = await _cancel_latencies(
            events, Canceler(database, wakeup, FollowUp(database, wakeup, events), events), ids
        )
        assert max(latencies) < 2 * settings.beat_seconds
    await redis_proxy.start()


async def test_a_claim_whose_answer_is_lost_is_released_and_run(
    database_proxy: Proxy, redis_url: str, events: EventLog, insert: Insert, count: Count
) -> None:
    """The claim commits, its answer is cut: nobody would ever run these rows, had the beat not released them."""
    ids = await insert(5, SHORT)
    database_proxy.cut_reply_to(lambda data: _CLAIM_DUE.search(data) is not None)
    async with consuming(quick_settings(database_proxy.url, redis_url), events):
        released = await events.seen(TasksReleased)
        assert sorted(released.task_ids) == sorted(ids)
        await until(count(5, "completed"))
        assert {event.task_ids[0] for event in events.of(TasksCompleted)} <= set(ids)
    assert database_proxy.replies_cut == 1


async def test_a_completion_whose_answer_is_lost_counts_once(
    database_proxy: Proxy, redis_url: str, insert: Insert, count: Count, sql: Connection
) -> None:
    """Written again, it finds its own claim on a completed row: completed, not lost, and run once."""
    events = EventLog()
    async with consuming(quick_settings(database_proxy.url, redis_url), events):
        await insert(1, SHORT)
        await until(count(1, "completed"))
        ids = await insert(1, '{"simulate_seconds": 0.5}')
        await events.seen(TasksClaimed, lambda event: ids[0] in event.task_ids)
        claim_id = await sql.fetchval("SELECT claim_id FROM tasks WHERE id = $1", ids[0])
        database_proxy.cut_reply_to(lambda data: claim_id.bytes in data)
        await until(count(2, "completed"))
        await events.seen(TasksCompleted, lambda event: ids[0] in event.task_ids)
        assert database_proxy.replies_cut == 1
        assert await sql.fetchval("SELECT attempt FROM tasks WHERE id = $1", ids[0]) == 1


async def test_postgresql_away_for_longer_than_the_lease(
    database_proxy: Proxy, redis_url: str, insert: Insert, count: Count, sql: Connection
) -> None:
    """Handlers stop when the lease is in doubt; when PostgreSQL is back their tasks run on, and no loss is counted."""
    events = EventLog()
    async with consuming(quick_settings(database_proxy.url, redis_url), events):
        await insert(3, '{"simulate_seconds": 3}')
        await until(count(3, "processing"))
        await database_proxy.stop()
        await events.seen(LeaseLapsed)
        await events.seen(HandlerStopped)
        await database_proxy.start()
        await events.seen(LeaseRegained)
        await events.seen(TasksReleased)
        await until(count(3, "completed"))
        assert {tuple(r) for r in await sql.fetch("SELECT attempt, lost_count FROM tasks")} == {(1, 0)}


async def test_who_is_back_first_after_an_outage_does_not_bury_the_others(
    database_proxy: Proxy, database_url: str, redis_url: str, insert: Insert, count: Count, sql: Connection
) -> None:
    """One that was kept from beating takes others' silence for the outage; one that stays silent is buried later."""
    early, late, late_proxy = EventLog(), EventLog(), Proxy(database_url)
    await late_proxy.start()
    async with AsyncExitStack() as consumers:
        await consumers.enter_async_context(
            consuming(quick_settings(late_proxy.url, redis_url, beat_seconds=1, lease_seconds=3), late)
        )
        await insert(3, '{"simulate_seconds": 3}')
        await until(count(3, "processing"))
        settings = quick_settings(database_proxy.url, redis_url, beat_seconds=1, lease_seconds=3)
        await consumers.enter_async_context(consuming(settings, early))
        await until(_all_beating(sql))  # so that no connection is just being made
        await asyncio.gather(database_proxy.stop(), late_proxy.stop())
        await asyncio.gather(early.seen(LeaseLapsed), late.seen(LeaseLapsed))
        await until(_silent_for_a_lease(sql))
        await sql.execute("INSERT INTO consumers (id, host, pid, beat_at) VALUES (gen_random_uuid(), 'dead', 0, now())")
        await database_proxy.start()
        await early.seen(LeaseRegained)
        await insert(1, SHORT)
        await until(_swept(sql))
        await late_proxy.start()
        await late.seen(LeaseRegained)
        await until(_only_beating(sql))
        await until(count(4, "completed"))
        assert {tuple(row) for row in await sql.fetch("SELECT lost_count FROM tasks")} == {(0,)}
    await late_proxy.stop()


def _all_beating(sql: Connection) -> Callable[[], Awaitable[object]]:
    return lambda: sql.fetchval("SELECT every(beat_at > started_at + interval '1 s') FROM consumers")


def _silent_for_a_lease(sql: Connection) -> Callable[[], Awaitable[object]]:
    return lambda: sql.fetchval("SELECT max(beat_at) < clock_timestamp() - interval '3 s' FROM consumers")


def _swept(sql: Connection) -> Callable[[], Awaitable[object]]:
    """Whether a whole round of a sweep has gone by: it ends with this."""
    return lambda: sql.fetchval("SELECT NOT EXISTS (SELECT FROM task_deltas)")


def _only_beating(sql: Connection) -> Callable[[], Awaitable[object]]:
    return lambda: sql.fetchval("SELECT NOT EXISTS (SELECT FROM consumers WHERE host = 'dead')")


async def test_a_flushed_redis_loses_nothing(
    settings: Settings, events: EventLog, insert: Insert, count: Count
) -> None:
    """500 rows of which no id is in Redis, on 20 slots: polls follow one another until all are done."""
    async with consuming(settings, events):
        start = time.monotonic()
        await insert(500, SHORT)
        await until(count(500, "completed"))
        assert time.monotonic() - start < 25 * settings.poll_seconds / 2


async def test_a_poll_that_fills_every_slot_drops_as_many_ids(
    settings: Settings, events: EventLog, insert: Insert, redis: Redis
) -> None:
    """They are those of the tasks that it claims: read later, each would cost a claim in vain, and another poll."""
    ids = await insert(50, LONG)
    await redis.rpush(LIST, *map(str, ids))
    async with consuming(settings, events):

        async def those_are_dropped() -> bool:
            return bool(await redis.lrange(LIST, 0, -1) == [str(task_id).encode() for task_id in ids[20:]])

        await until(those_are_dropped)


async def test_a_crash_ends_no_task(settings: Settings, events: EventLog, insert: Insert, count: Count) -> None:
    """One part of the consumer dies: it ends by that error, and what it ran is left for others to recover."""
    consumer = Consumer(settings, Catalog.load(settings), events, fork_server())
    running = asyncio.create_task(consumer.run(StopRequest()))
    await insert(3, LONG)
    await until(count(3, "processing"))
    consumer._crash(RuntimeError("boom"))
    with pytest.raises(RuntimeError, match="boom"):
        await running
    async with asyncio.timeout(5):
        await consumer._executor.wait_until_idle()
    await consumer._parts.recorder.drain()
    assert await count(3, "processing")()


async def test_garbage_in_redis_is_passed_over(
    settings: Settings, events: EventLog, insert: Insert, count: Count, redis: Redis
) -> None:
    """Anybody may write to the list and to the channel: what is no id wakes nobody and kills nobody."""
    async with consuming(settings, events):
        await redis.rpush(LIST, "garbage", b"\xff\xfe", "")
        await redis.publish(CANCELED, "garbage,,")
        ids = await insert(1, SHORT)
        await redis.rpush(LIST, "more garbage", str(ids[0]))
        await until(count(1, "completed"))
    async with consuming(settings, events):
        await redis.delete(LIST)
        await redis.set(LIST, "not even a list")
        await insert(1, SHORT)
        await until(count(2, "completed"))
