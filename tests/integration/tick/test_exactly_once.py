"""Every tick makes exactly one task: with many consumers, across crashes, whatever else happens to the schedule."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from app.core.errors import DatabaseUnavailableError
from app.core.events import ScheduleTicked
from app.db.engine import Database
from app.queue.schedule import delete_schedule
from app.queue.tick import _TICK, Ticker
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.integration.conftest import waiting_for_a_lock
from tests.integration.tick.conftest import Put
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


async def test_many_consumers_make_each_tick_once(
    database_url: str, wakeup: Wakeup, events: EventLog, put: Put, sql: Connection
) -> None:
    """They share 250 schedules that are due at once; each tick has one task, and one event."""
    for n in range(250):
        await put(f"s{n}")
    databases = [_database(database_url) for _ in range(6)]
    await asyncio.gather(*(Ticker(each, wakeup, events).tick() for each in databases for _ in range(2)))
    for each in databases:
        await each.close()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 250
    assert await sql.fetchval("SELECT count(DISTINCT last_task_id) FROM schedules WHERE next_run_at > now()") == 250
    assert len(events.of(ScheduleTicked)) == 250


async def test_nobody_waits_for_a_schedule_that_another_holds(ticker: Ticker, put: Put, sql: Connection) -> None:
    """The rest is done meanwhile, and the held one when it is free."""
    await put("held")
    await put("free")
    async with sql.transaction():
        await sql.execute("SELECT FROM schedules WHERE name = 'held' FOR UPDATE")
        await asyncio.wait_for(ticker.tick(), 5)
        assert await sql.fetchval("SELECT name FROM schedules WHERE last_run_at IS NOT NULL") == "free"
    await ticker.tick()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 2


async def test_killed_before_its_commit_it_has_done_nothing(
    database_url: str,
    database: Database,
    wakeup: Wakeup,
    events: EventLog,
    ticker: Ticker,
    put: Put,
    sql: Connection,
) -> None:
    """The connection dies between the schedule's step and the task: both are undone, and another makes the tick."""
    await put()
    before = await sql.fetch("SELECT * FROM schedules")
    dying = _database(database_url)
    async with sql.transaction():
        await sql.execute("LOCK TABLE tasks IN SHARE MODE")  # so that its INSERT has to wait
        ticking = asyncio.create_task(Ticker(dying, wakeup, events).tick())
        await until(lambda: waiting_for_a_lock(database))
        for pid in await waiting_for_a_lock(database):
            await database.fetch("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(DatabaseUnavailableError):
            await ticking
    await dying.close()
    assert await sql.fetch("SELECT * FROM schedules") == before
    assert events.events == []
    await ticker.tick()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 1


async def test_killed_after_its_commit_it_is_not_done_again(
    database_proxy: Proxy, wakeup: Wakeup, events: EventLog, ticker: Ticker, put: Put, sql: Connection
) -> None:
    """The COMMIT has no answer: the task is there, and nobody makes the tick once more."""
    await put()
    behind_proxy = _database(database_proxy.url)
    database_proxy.cut_reply_to(lambda request: b"COMMIT" in request)
    with pytest.raises(DatabaseUnavailableError):
        await Ticker(behind_proxy, wakeup, events).tick()
    assert database_proxy.replies_cut == 1
    await behind_proxy.close()
    await until(lambda: sql.fetchval("SELECT count(*) = 1 FROM tasks"))
    await ticker.tick()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 1


@pytest.mark.parametrize("step", ["looking", "stepping"])
async def test_a_lost_answer_within_the_transaction_undoes_it(
    step: str, database_proxy: Proxy, wakeup: Wakeup, events: EventLog, ticker: Ticker, put: Put, sql: Connection
) -> None:
    """After either statement; the next round makes the tick."""
    await put()
    sent = {"looking": b"SKIP LOCKED", "stepping": (await sql.fetchval("SELECT id FROM schedules")).bytes}[step]
    behind_proxy = _database(database_proxy.url)
    database_proxy.cut_reply_to(lambda request: sent in request)
    with pytest.raises(DatabaseUnavailableError):
        await Ticker(behind_proxy, wakeup, events).tick()
    assert database_proxy.replies_cut == 1
    await behind_proxy.close()
    free = "SELECT count(*) = 0 FROM pg_locks WHERE relation = 'schedules'::regclass AND pid <> pg_backend_pid()"
    await until(lambda: sql.fetchval(free))
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 0
    await ticker.tick()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 1


async def test_set_back_by_hand_a_tick_has_still_one_task(ticker: Ticker, put: Put, sql: Connection) -> None:
    """The task's id says which tick it is."""
    await put()
    tick = await sql.fetchval("SELECT next_run_at FROM schedules")
    for _ in range(3):
        await ticker.tick()
        await sql.execute("UPDATE schedules SET next_run_at = $1", tick)
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 1


async def test_changed_meanwhile_it_is_left_alone(database: Database, put: Put, sql: Connection) -> None:
    """The step is taken only from where it was seen: by name, id and tick, and while enabled."""
    await put()
    row = await sql.fetchrow("SELECT id, next_run_at FROM schedules")
    assert row is not None
    schedule_id, tick = row
    later = tick + timedelta(hours=1)

    async def step(name: str, seen_id: UUID, was: datetime) -> int:
        made = await database.fetch(
            _TICK, [name], [seen_id], [was], [later], [was], [uuid4()], [seen_id], [uuid4()], [was]
        )
        return len(made)

    assert await step("another", schedule_id, tick) == 0
    assert await step("minutely", uuid4(), tick) == 0
    assert await step("minutely", schedule_id, later) == 0
    await sql.execute("UPDATE schedules SET enabled = false")
    assert await step("minutely", schedule_id, tick) == 0
    await sql.execute("UPDATE schedules SET enabled = true")
    assert await step("minutely", schedule_id, tick) == 1


async def test_deleted_while_it_is_due_it_makes_nothing(
    ticker: Ticker, put: Put, sql: Connection, database: Database
) -> None:
    """Deletes and ticks at the same time never meet an error, and leave one task or none."""
    for _ in range(20):
        await put()
        await asyncio.gather(ticker.tick(), delete_schedule(database, "minutely"))
        assert len(await sql.fetch("DELETE FROM tasks RETURNING id")) <= 1
        assert await sql.fetchval("SELECT count(*) FROM schedules") == 0


def _database(url: str) -> Database:
    """A consumer's pool of its own."""
    return Database(quick_settings(url, "redis://unused").database_url, 2, 10)
