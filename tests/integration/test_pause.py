"""A paused queue: nobody claims its tasks, nobody's place is taken by them, and all else goes on."""

import asyncio
import json
from datetime import timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.core.config import Settings
from app.core.events import TasksClaimed
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.admit import KeySweep, admit
from app.queue.claim import claim_due, claim_ids, claim_suspects
from app.queue.pause import read_paused, set_paused
from app.queue.recover import look, register
from tests.conftest import quick_settings
from tests.integration.conftest import WANTED, Insert, claimant
from tests.integration.test_admit import _insert, keyed
from tests.integration.test_consumer import _CLAIM_DUE
from tests.support.consuming import consuming
from tests.support.proxy import EXECUTE, Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


async def _pause(database: Database, *, is_paused: bool = True) -> None:
    await set_paused(database, "default", ["simulate", "http"], is_paused=is_paused)


@pytest.mark.parametrize("way", ["by id", "due", "suspects"])
async def test_no_claim_takes_a_paused_task(
    way: str, database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """Whatever the consumer has heard; the same claim takes it once the queue goes on."""
    ids = await insert(2)
    if way == "suspects":
        await sql.execute("UPDATE tasks SET lost_count = 2")

    async def claim() -> int:
        who = claimant(consumer_id)
        if way == "by id":
            return len(await claim_ids(database, who, ids))
        if way == "due":
            return len(await claim_due(database, who, 5, WANTED))
        return len(await claim_suspects(database, who, 5))

    await _pause(database)
    assert await claim() == 0
    assert not (await look(database, 10, ["simulate"])).has_suspects  # nobody starts a process for nothing
    await _pause(database, is_paused=False)
    assert await claim() == 2


async def test_pausing_again_keeps_the_time(database: Database) -> None:
    """And resuming what runs is no fault."""
    await _pause(database, is_paused=False)
    assert await read_paused(database) == {}
    await _pause(database)
    since = await read_paused(database)
    await _pause(database)
    assert await read_paused(database) == since
    assert (await look(database, 10, [])).paused_queues == ["default"]


async def test_a_paused_task_holds_no_place_of_its_key(database: Database, consumer_id: UUID, sql: Connection) -> None:
    """One that was let through before is taken back, so that another queue's task with the key gets its turn."""
    await register(database, consumer_id, "test", 1, [])
    await sql.execute("UPDATE consumers SET kinds = '{simulate,other}'")
    mine, other = keyed(), keyed()
    await _insert(database, mine, other)
    await sql.execute("UPDATE tasks SET kind = 'other' WHERE id = $1", other.id)
    assert [hint.id for hint in await admit(database, ["k"])] == [mine.id]
    await _pause(database)
    assert [hint.id for hint in await KeySweep(database).sweep()] == [other.id]
    await sql.execute("UPDATE tasks SET status = 'completed' WHERE id = $1", other.id)
    assert await KeySweep(database).sweep() == []
    await _pause(database, is_paused=False)
    assert [hint.id for hint in await KeySweep(database).sweep()] == [mine.id]


async def test_a_consumer_leaves_a_paused_queue_alone(
    database_proxy: Proxy,
    redis_url: str,
    database: Database,
    insert: Insert,
    events: EventLog,
    sql: Connection,
) -> None:
    """By the queue's name as well, for kinds that who paused it did not know; what runs ends; it asks no claims."""
    settings = quick_settings(database_proxy.url, redis_url)
    async with consuming(settings, events):
        (running,) = await insert(1, '{"simulate_seconds": 1.5}')
        await events.seen(TasksClaimed)
        await set_paused(database, "default", [], is_paused=True)
        for other in ("bulk", "callbacks"):  # or it would go on asking for those
            await set_paused(database, other, [], is_paused=True)
        database_proxy.requests.clear()
        await until(lambda: _looks(database_proxy, 2))
        later = await insert(3, '{"simulate_seconds": 0}')
        database_proxy.requests.clear()
        await until(lambda: _status_is(sql, running, "completed"))
        await until(lambda: _looks(database_proxy, 4))
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'pending'") == 3
        assert not any(_CLAIM_DUE.search(request) for request in database_proxy.requests)
        await _pause(database, is_paused=False)
        await until(lambda: _status_is(sql, later[-1], "completed"))


async def test_a_flood_in_a_paused_queue_can_be_canceled(
    settings: Settings, database: Database, insert: Insert, events: EventLog, sql: Connection
) -> None:
    """By a task of the kind `bulk`, which is in no queue of those that it is to stop."""
    queues = Catalog.load(settings).queues
    await set_paused(database, "default", queues["default"], is_paused=True)
    await insert(3)
    every = {"statuses": ["pending"]}
    content = {"action": "cancel", "filter": every, "visible": {"is_all": True, "tenant": None}, "dry_run": False}
    await database.fetch(
        "INSERT INTO tasks (id, kind, content) VALUES ($1, 'bulk', $2::text::json)", uuid7(), json.dumps(content)
    )
    async with consuming(settings, events):
        await until(lambda: _status_of_all(sql, {"simulate": "canceled", "bulk": "completed"}))


async def _status_of_all(sql: Connection, wanted: dict[str, str]) -> bool:
    return {row[0]: row[1] for row in await sql.fetch("SELECT DISTINCT kind, status FROM tasks")} == wanted


async def test_a_consumer_that_starts_finds_the_pause(
    settings: Settings, database: Database, insert: Insert, events: EventLog, sql: Connection
) -> None:
    """It claims nothing, from its first claim on."""
    await _pause(database)
    await insert(5, '{"simulate_seconds": 0}')
    async with consuming(settings, events):
        await asyncio.sleep(2 * settings.poll_seconds)
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'pending'") == 5
        await _pause(database, is_paused=False)
        await until(lambda: _count_is(sql, 5))


async def _looks(proxy: Proxy, count: int) -> bool:
    """So many sweeps have looked: each sends its lease as an interval and its kinds."""
    interval = timedelta(seconds=1.2)
    wire = int(interval.total_seconds() * 1_000_000).to_bytes(8, "big")
    return sum(request.count(wire) for request in proxy.requests if EXECUTE in request) >= count


async def _status_is(sql: Connection, task_id: UUID, status: str) -> bool:
    return bool(await sql.fetchval("SELECT status FROM tasks WHERE id = $1", task_id) == status)


async def _count_is(sql: Connection, count: int) -> bool:
    return bool(await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'completed'") == count)
