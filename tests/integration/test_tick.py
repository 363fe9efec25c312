"""Every tick makes exactly one task: with many consumers, across crashes, whatever else happens to the schedule."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.core.errors import DatabaseUnavailableError
from app.core.events import ScheduleTicked, ScheduleUnreadable, TicksMissed
from app.core.recurrence import Recurrence
from app.core.schedule import Missed, NewSchedule
from app.db.engine import Database
from app.queue.recover import look
from app.queue.schedule import delete_schedule, put_schedule
from app.queue.tick import _TICK, Ticker, task_id
from app.queue.wakeup import Wakeup, list_name
from tests.conftest import quick_settings
from tests.integration.conftest import waiting_for_a_lock
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

Put = Callable[..., Awaitable[None]]

EVERY_MINUTE = Recurrence("* * * * *", "UTC")
EVERY_YEAR = Recurrence("0 0 1 1 *", "UTC")  # so that no tick comes while a test looks


@pytest.fixture
def put(database: Database, sql: Connection) -> Put:
    """Make a schedule of every minute whose next tick was `seconds` ago by PostgreSQL's clock."""

    async def put_due(
        name: str = "minutely",
        seconds: float = 1,
        missed: Missed = Missed.SKIP,
        kind: str = "simulate",
        recurrence: Recurrence = EVERY_YEAR,
    ) -> None:
        await put_schedule(database, NewSchedule(name, recurrence, kind, '{"a":  1}', missed, enabled=True))
        ago = timedelta(seconds=seconds)
        await sql.execute(
            "UPDATE schedules SET next_run_at = clock_timestamp() - $2::interval WHERE name = $1", name, ago
        )

    return put_due


@pytest.fixture
def ticker(database: Database, wakeup: Wakeup, events: EventLog) -> Ticker:
    """What each consumer has."""
    return Ticker(database, wakeup, events)


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


def _database(url: str) -> Database:
    """A consumer's pool of its own."""
    return Database(quick_settings(url, "redis://unused").database_url, 2, 10)


@given(st.uuids(), st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_ticks_task_has_an_id_of_its_own(schedule_id: UUID, tick: datetime) -> None:
    """A UUID version 7 at the tick's time; another for another schedule, or another tick."""
    found = task_id(schedule_id, tick)
    assert (found.version, found.variant) == (7, "specified in RFC 4122")
    assert found.int >> 80 == (tick - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert found == task_id(schedule_id, tick)
    assert found != task_id(schedule_id, tick + timedelta.resolution)
    assert found != task_id(UUID(int=schedule_id.int ^ 1), tick)


def test_the_id_of_a_tick_is_the_same_in_every_release() -> None:
    """During a deployment two of them make the same tick."""
    schedule_id = UUID("11111111-2222-4333-8444-555555555555")
    tick = datetime(2024, 10, 27, 0, 30, tzinfo=UTC)
    assert str(task_id(schedule_id, tick)) == "0192cb61-3b40-7df0-93f3-bf07ff2bbde5"
