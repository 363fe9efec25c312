"""What a tick does: its task, the next time, and what was missed."""

from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from app.core.events import ScheduleTicked, ScheduleUnreadable, TicksMissed
from app.core.schedule import Missed
from app.db.engine import Database
from app.queue.recover import look
from app.queue.tick import Ticker
from app.queue.wakeup import Wakeup, list_name
from tests.integration.tick.conftest import EVERY_MINUTE, EVERY_YEAR, Put
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog


async def test_a_tick_makes_its_task(
    ticker: Ticker, put: Put, sql: Connection, events: EventLog, redis: Redis, wakeup: Wakeup
) -> None:
    """As the schedule says, due at the tick; the schedule knows of it, and consumers are woken."""
    await put()
    tick = await sql.fetchval("SELECT next_run_at FROM schedules")
    await ticker.tick()
    ((task, kind, content, status, run_at),) = await sql.fetch("SELECT id, kind, content, status, run_at FROM tasks")
    assert (kind, content, status, run_at) == ("simulate", '{"a":  1}', "pending", tick)
    row = await sql.fetchrow("SELECT *, now() FROM schedules")
    assert row is not None
    assert (row["last_run_at"], row["last_task_id"], row["updated_at"]) == (tick, task, None)
    assert row["next_run_at"] == EVERY_YEAR.next(row["now"])
    assert events.events == [ScheduleTicked("minutely", task, tick.isoformat())]
    await wakeup.close()
    assert await redis.lrange(list_name(1, "simulate"), 0, -1) == [str(task).encode()]


async def test_before_its_time_nothing_happens(ticker: Ticker, put: Put, sql: Connection, database: Database) -> None:
    """Nor when it is not enabled."""
    await put(seconds=-30)
    await put("off")
    await sql.execute("UPDATE schedules SET enabled = false WHERE name = 'off'")
    before = await sql.fetch("SELECT * FROM schedules")
    assert not (await look(database, 10, [])).has_ticks
    await ticker.tick()
    assert await sql.fetch("SELECT * FROM schedules") == before
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 0


@pytest.mark.parametrize(("missed", "tasks"), [(Missed.SKIP, 1), (Missed.RUN_ONCE, 2)])
async def test_after_an_outage(
    missed: Missed, tasks: int, ticker: Ticker, put: Put, sql: Connection, events: EventLog
) -> None:
    """Of three hours: the tick of this minute runs in any case, of the missed ones the last or none."""
    await put(seconds=3 * 3600, missed=missed, recurrence=EVERY_MINUTE)
    await ticker.tick()
    ran = await sql.fetch("SELECT id, run_at, now() - run_at AS late FROM tasks ORDER BY run_at")
    assert len(ran) == tasks
    assert ran[-1]["late"] <= timedelta(seconds=60)
    assert ran[0]["late"] <= timedelta(seconds=120)
    (event,) = events.of(TicksMissed)
    assert datetime.fromisoformat(event.last) - datetime.fromisoformat(event.first) > timedelta(hours=2, minutes=57)
    assert await sql.fetchval("SELECT next_run_at > now() AND last_task_id = $1 FROM schedules", ran[-1]["id"])


async def test_what_a_kind_is_does_not_matter(ticker: Ticker, put: Put, sql: Connection) -> None:
    """A consumer that does not know it makes the task all the same; it is pending until somebody knows it."""
    await put("known")
    await put("unknown", kind="gone")
    await ticker.tick()
    assert {tuple(r) for r in await sql.fetch("SELECT kind, status FROM tasks")} == {
        ("simulate", "pending"),
        ("gone", "pending"),
    }


async def test_what_can_not_be_read_holds_up_nobody(
    ticker: Ticker, put: Put, sql: Connection, events: EventLog
) -> None:
    """As what a newer release put: more of it than a batch is passed over, said once, and done when it can be read."""
    for n in range(120):
        await put(f"s{n}", seconds=5)
    await sql.execute("UPDATE schedules SET timezone = 'Mars/Olympus'")
    await sql.execute("UPDATE schedules SET timezone = 'America/Lima', next_run_at = '0001-01-01Z' WHERE name = 's0'")
    await put("good")
    for _ in range(3):
        await ticker.tick()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
    assert len(events.of(ScheduleUnreadable)) == 120
    await sql.execute("UPDATE schedules SET timezone = 'UTC', next_run_at = now() WHERE name <> 'good'")
    await ticker.tick()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 121


async def test_the_clock_is_postgresqls(
    clock_ahead: Database, ticker: Ticker, wakeup: Wakeup, events: EventLog, put: Put, sql: Connection
) -> None:
    """A tick in half an hour by the host's clock is due where PostgreSQL's is an hour ahead."""
    await put(seconds=-1800, missed=Missed.RUN_ONCE, recurrence=EVERY_MINUTE)
    await ticker.tick()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 0
    await Ticker(clock_ahead, wakeup, events).tick()
    assert await sql.fetchval("SELECT count(*) FROM tasks") >= 1
    assert await sql.fetchval("SELECT next_run_at - now() > interval '59 minutes' FROM schedules")


async def test_a_tick_without_redis(
    database: Database, events: EventLog, put: Put, sql: Connection, redis_proxy: Proxy
) -> None:
    """It is made all the same."""
    await redis_proxy.stop()
    await put()
    wakeup = Wakeup(redis_proxy.url, events)
    await Ticker(database, wakeup, events).tick()
    await wakeup.close()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
    await redis_proxy.start()
