"""Schedules are put, declared and deleted; what that does to their next tick."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.core.errors import ScheduleDeclaredError
from app.core.recurrence import Recurrence
from app.core.schedule import Missed, NewSchedule, Schedule
from app.db.engine import Database
from app.queue.schedule import (
    declare_schedules,
    delete_schedule,
    list_schedules,
    put_schedule,
    read_schedule,
)
from tests.integration.conftest import waiting_for_a_lock
from tests.support.types import Connection
from tests.support.waiting import until


def _new(name: str = "nightly", **others: Any) -> NewSchedule:
    recurrence = Recurrence(others.pop("cron", "30 2 * * *"), others.pop("timezone", "Europe/Berlin"))
    fields: dict[str, Any] = {"kind": "simulate", "content": '{"a":1}', "missed": Missed.SKIP, "enabled": True} | others
    return NewSchedule(name, recurrence, **fields)


async def _read(database: Database, name: str = "nightly") -> Schedule:
    found = await read_schedule(database, name)
    assert found is not None
    return found[0]


async def test_put_makes_it_and_then_changes_it(database: Database) -> None:
    """All of it is kept; its next tick is the first after PostgreSQL's time."""
    made, now, is_new = await put_schedule(database, _new())
    assert is_new
    assert made == await _read(database)
    assert (made.cron, made.timezone, made.kind, made.content) == ("30 2 * * *", "Europe/Berlin", "simulate", '{"a":1}')
    assert (made.missed, made.enabled, made.is_declared) == ("skip", True, False)
    assert (made.last_run_at, made.last_task_id, made.updated_at) == (None, None, None)
    assert made.next_run_at == _new().recurrence.next(now)
    changed, _, is_new = await put_schedule(database, _new(cron="0 5 * * *", missed=Missed.RUN_ONCE))
    assert not is_new
    assert (changed.id, changed.created_at) == (made.id, made.created_at)
    assert (changed.cron, changed.missed) == ("0 5 * * *", "run_once")
    assert changed.updated_at is not None


@pytest.mark.parametrize(
    ("change", "keeps"),
    [
        ({}, True),
        ({"content": "2"}, True),
        ({"kind": "other"}, True),
        ({"missed": Missed.RUN_ONCE}, True),
        ({"cron": "31 2 * * *"}, False),
        ({"timezone": "UTC"}, False),
    ],
)
async def test_only_a_change_of_when_it_runs_moves_its_next_tick(
    change: dict[str, Any], *, keeps: bool, database: Database, sql: Connection
) -> None:
    """A tick that is due stays due, and put as it was nothing at all changes."""
    await put_schedule(database, _new())
    await sql.execute("UPDATE schedules SET next_run_at = now() - interval '1 second'")
    before = await _read(database)
    after, now, _ = await put_schedule(database, _new(**change))
    assert (after == before) == (not change)
    assert after.next_run_at == (before.next_run_at if keeps else _new(**change).recurrence.next(now))


async def test_enabled_again_it_makes_up_for_nothing(database: Database, sql: Connection) -> None:
    """Its next tick is counted from now, whatever came due while it was off."""
    await put_schedule(database, _new(enabled=False, missed=Missed.RUN_ONCE))
    await sql.execute("UPDATE schedules SET next_run_at = now() - interval '3 days'")
    enabled, now, _ = await put_schedule(database, _new(missed=Missed.RUN_ONCE))
    assert enabled.next_run_at == _new().recurrence.next(now) > now


async def test_put_at_once_by_many_it_is_made_once(database: Database) -> None:
    """The others change what one of them made; nobody meets an error."""
    puts = await asyncio.gather(*(put_schedule(database, _new(content=str(n))) for n in range(20)))
    assert [is_new for _, _, is_new in puts].count(True) == 1
    assert len({schedule.id for schedule, _, _ in puts}) == 1


async def test_a_change_waits_for_the_tick_that_is_being_made(database: Database, sql: Connection) -> None:
    """And then sees its effect: the next tick is not taken back."""
    await put_schedule(database, _new())
    moved = datetime.fromisoformat("2124-01-01T00:00+00:00")
    async with sql.transaction():
        await sql.execute("UPDATE schedules SET next_run_at = $1", moved)
        put = asyncio.create_task(put_schedule(database, _new(content="2")))
        await until(lambda: waiting_for_a_lock(database))
    assert (await put)[0].next_run_at == moved


async def test_time_is_postgresqls(database: Database, sql: Connection, clock_ahead: Database) -> None:
    """Whatever the host's clock says. Here PostgreSQL's is an hour ahead of it."""
    _, ours, _ = await put_schedule(database, _new("a", cron="* * * * *"))
    made, theirs, _ = await put_schedule(clock_ahead, _new("b", cron="* * * * *"))
    assert timedelta(minutes=59) < theirs - ours < timedelta(minutes=61)
    assert theirs < made.next_run_at <= theirs + timedelta(minutes=1)
    assert await sql.fetchval("SELECT next_run_at > now() + interval '59 minutes' FROM schedules WHERE name = 'b'")


async def test_they_are_listed_by_name(database: Database) -> None:
    """Page by page."""
    for name in ("c", "a", "b"):
        await put_schedule(database, _new(name))
    assert [schedule.name for schedule, _ in await list_schedules(database, "", 10)] == ["a", "b", "c"]
    assert [schedule.name for schedule, _ in await list_schedules(database, "a", 1)] == ["b"]
    assert await list_schedules(database, "c", 1) == []


async def test_deleted_it_is_gone(database: Database) -> None:
    """Again there is nothing to delete; made again, it is another schedule."""
    made, _, _ = await put_schedule(database, _new())
    assert await delete_schedule(database, "nightly")
    assert not await delete_schedule(database, "nightly")
    assert await read_schedule(database, "nightly") is None
    again, _, is_new = await put_schedule(database, _new())
    assert is_new
    assert again.id != made.id


async def test_what_is_declared_is_so(database: Database, sql: Connection) -> None:
    """New ones are made, changed ones changed, others removed; one that stays keeps its tick, its id and its past."""
    await declare_schedules(database, [_new("stays"), _new("changes"), _new("goes")])
    await put_schedule(database, _new("clients"))
    await sql.execute("UPDATE schedules SET next_run_at = now() - interval '1 second', last_run_at = now()")
    stays, changes, clients = [await _read(database, name) for name in ("stays", "changes", "clients")]
    await declare_schedules(database, [_new("stays"), _new("changes", cron="0 5 * * *"), _new("comes")])
    assert [s.name for s, _ in await list_schedules(database, "", 10)] == ["changes", "clients", "comes", "stays"]
    assert await _read(database, "stays") == stays
    assert await _read(database, "clients") == clients
    changed = await _read(database, "changes")
    assert changed.id == changes.id
    assert changed.next_run_at > changes.next_run_at
    assert changed.is_declared


async def test_a_clients_schedule_that_is_declared_is_taken_over(database: Database) -> None:
    """It keeps its tick and its id."""
    clients, _, _ = await put_schedule(database, _new())
    await declare_schedules(database, [_new()])
    taken = await _read(database)
    assert taken.is_declared
    assert (taken.id, taken.next_run_at) == (clients.id, clients.next_run_at)


async def test_a_declared_one_is_not_a_clients_to_change(database: Database) -> None:
    """Neither put nor deleted, not even as it is."""
    await declare_schedules(database, [_new()])
    with pytest.raises(ScheduleDeclaredError):
        await put_schedule(database, _new())
    with pytest.raises(ScheduleDeclaredError):
        await delete_schedule(database, "nightly")
    assert (await _read(database)).is_declared


async def test_many_consumers_that_start_at_once_declare_the_same(database: Database) -> None:
    """One after the other, in one transaction each: no deadlock, and no schedule twice."""
    names = [f"s{n}" for n in range(30)]
    await asyncio.gather(
        *(declare_schedules(database, [_new(name) for name in names[:: 1 if n % 2 else -1]]) for n in range(10))
    )
    assert {s.name for s, _ in await list_schedules(database, "", 100)} == set(names)
