"""Counters are exact: after each statement that moves tasks, over folds, under writers, across crashes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from app.core.errors import DatabaseUnavailableError
from app.core.group import NewGroup
from app.core.load import Load, total
from app.core.recurrence import Recurrence
from app.core.schedule import Missed, NewSchedule
from app.core.task import Claim, ErrorCode, NewTask, TaskStatus
from app.db.engine import Database
from app.queue import counts
from app.queue.cancel import Canceler
from app.queue.claim import claim_due, claim_ids, claim_suspects
from app.queue.counts import fold_counts, read_loads
from app.queue.create_group import GroupCreator
from app.queue.finish import Failure, complete, fail, release, retry_at, snooze
from app.queue.follow_up import FollowUp
from app.queue.progress import write_progress
from app.queue.recover import recover, register
from app.queue.retry import Reopener
from app.queue.schedule import put_schedule
from app.queue.spawn import Spawner
from app.queue.tick import Ticker
from app.queue.wakeup import Wakeup
from tests.integration.conftest import WANTED, Insert, claimant, creator, waiting_for_a_lock
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

FAILURE = Failure(ErrorCode.HANDLER_ERROR, "no")
KINDS = ("simulate", "http")


async def assert_exact(sql: Connection, database: Database) -> dict[str, Load]:
    """The counters say what counting says."""
    loads = await read_loads(database)
    rows = await sql.fetch("SELECT kind, status, count(*) FROM tasks GROUP BY 1, 2")
    counted = {(row[0], row[1]): row[2] for row in rows}
    for kind, load in loads.items():
        for status in TaskStatus:
            assert getattr(load, status) == counted.pop((kind, status), 0), (kind, status)
    assert not counted
    return loads


class Bench:
    """All that moves tasks."""

    def __init__(self, database: Database, wakeup: Wakeup, events: EventLog, sql: Connection, consumer: UUID) -> None:
        self.database, self.wakeup, self.events, self.sql, self.consumer = database, wakeup, events, sql, consumer
        self.follow_up = FollowUp(database, wakeup, events)
        self.who = claimant(consumer, *KINDS)

    async def steps(self) -> AsyncIterator[str]:
        """Each way that a task comes, moves or goes; counters are looked at after each."""
        database, events = self.database, self.events
        create = creator(database, self.wakeup, events)
        ids = [uuid7() for _ in range(12)]
        await create.create([NewTask(task_id, "simulate", "{}") for task_id in ids])
        yield "plain creates"
        full = [NewTask(uuid7(), KINDS[n % 2], "{}", delay=timedelta(0), concurrency_key=f"k{n}") for n in range(4)]
        await create.create(full)
        await create.create(full)
        yield "creates with options, and once more"
        members = [NewTask(uuid7(), "simulate", "{}") for _ in range(3)]
        group_id = uuid7()
        for member in members:
            member.group_id = group_id
        group = NewGroup(group_id, members, "cancel_rest", NewTask(uuid7(), "http", "{}"))
        await GroupCreator(database, self.wakeup, self.follow_up, events).create(group)
        yield "a group"
        claims = await claim_ids(database, self.who, [*ids[:9], *(task.id for task in members[:1])])
        yield "claims by id"
        due = await claim_due(database, self.who, 2, WANTED)
        yield "claims of what is due"
        await Spawner(database, self.wakeup, events).spawn(claims[0], [NewTask(uuid7(), "http", "{}")])
        yield "a child"
        await write_progress(database, claims, ["{}"] * len(claims))
        yield "progress"
        by_id = {claim.id: claim for claim in claims}
        await complete(database, [*due, by_id[ids[0]]], [None] * 3)
        yield "completed"
        await fail(database, [by_id[ids[1]], by_id[members[0].id]], [FAILURE] * 2)
        yield "failed"
        await self.follow_up.settle([group_id])
        yield "the rest of a group canceled, and its end"
        await retry_at(database, [by_id[ids[2]]], [FAILURE], [timedelta(hours=1)])
        yield "retried"
        await snooze(database, [by_id[ids[3]]], [datetime.now(UTC)])
        yield "snoozed"
        await release(database, [(ids[4], by_id[ids[4]].claim_id)])
        yield "released"
        await Canceler(database, self.wakeup, self.follow_up, events).cancel([ids[5], ids[11], ids[0]])
        yield "canceled, running and waiting"
        await Reopener(database, self.follow_up, events).reopen(ids[1])
        yield "a failed one again"
        await self._tick()
        yield "a tick"
        async for step in self._losses():
            yield step
        await self.sql.execute("DELETE FROM tasks WHERE status IN ('completed', 'canceled')")
        yield "deleted"

    async def _tick(self) -> None:
        leap_days = Recurrence("0 0 29 2 *", "UTC")  # so that no tick of its own falls into the second below
        await put_schedule(self.database, NewSchedule("s", leap_days, "http", "{}", Missed.SKIP, enabled=True))
        await self.sql.execute("UPDATE schedules SET next_run_at = clock_timestamp() - interval '1 second'")
        await Ticker(self.database, self.wakeup, self.events).tick()

    async def _losses(self) -> AsyncIterator[str]:
        for loss in (1, 2):
            await self.sql.execute("DELETE FROM consumers")
            await recover(self.database, 10, 3)
            yield f"recovered, loss {loss}"
            await register(self.database, self.consumer, "test", 1, KINDS)
            if loss == 1:
                await claim_due(self.database, self.who, 3, WANTED)
                await self.sql.execute("UPDATE tasks SET lost_count = 2 WHERE status = 'processing'")
        assert await self.sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'failed'")
        await self.sql.execute("UPDATE tasks SET lost_count = 2 WHERE status = 'pending'")
        assert await claim_suspects(self.database, self.who, 1)
        yield "a suspect claimed"


@pytest.mark.parametrize("is_folded", [False, True])
async def test_counters_are_exact_after_each_statement(
    *, is_folded: bool, database: Database, wakeup: Wakeup, events: EventLog, sql: Connection, consumer_id: UUID
) -> None:
    """Whether what was noted has been folded or not; and what only grows has counted what came and what ended."""
    bench = Bench(database, wakeup, events, sql, consumer_id)
    steps = 0
    async for step in bench.steps():
        steps += 1
        if is_folded:
            await fold_counts(database)
            assert not await sql.fetchval("SELECT count(*) FROM task_deltas")
        try:
            loads = await assert_exact(sql, database)
        except AssertionError as error:
            raise AssertionError(step) from error
    assert steps == 20
    deleted = (await sql.fetchval("SELECT count(*) FROM tasks"), total(loads.values()).created)
    assert deleted[0] < deleted[1] == 12 + 4 + 3 + 1 + 1 + 1  # by client, with options, group, child, `then`, tick
    await wakeup.close()
    await sql.execute("TRUNCATE tasks")
    assert total((await assert_exact(sql, database)).values()).created == 0


async def test_progress_writes_no_row(database: Database, insert: Insert, consumer_id: UUID, sql: Connection) -> None:
    """What moves nothing is not noted."""
    claims = await claim_ids(database, claimant(consumer_id), await insert(5))
    before = await sql.fetchval("SELECT count(*) FROM task_deltas")
    await write_progress(database, claims, ["{}"] * 5)
    assert await sql.fetchval("SELECT count(*) FROM task_deltas") == before == 3


async def test_folds_lose_nothing_under_writers(database: Database, consumer_id: UUID, sql: Connection) -> None:
    """Three writers create, claim and complete while two fold; each look in between is exact, by one snapshot."""
    who = claimant(consumer_id)
    is_done = asyncio.Event()

    async def write() -> None:
        for _ in range(25):
            ids = [uuid7() for _ in range(7)]
            insert = "INSERT INTO tasks (id, kind, content) SELECT id, 'simulate', '1' FROM unnest($1::uuid[]) AS id"
            await database.fetch(insert, ids)
            claims: list[Claim] = await claim_ids(database, who, ids)
            await complete(database, claims, [None] * len(claims))

    async def fold() -> None:
        while not is_done.is_set():
            await fold_counts(database)

    async def compare() -> None:
        while not is_done.is_set():
            async with sql.transaction(isolation="repeatable_read", readonly=True):
                row = (await sql.fetch(counts.READ_LOADS))[:1]
                counted = await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'completed'")
            assert (row[0]["completed"] if row else 0) == counted

    helpers = [asyncio.create_task(fold()), asyncio.create_task(fold()), asyncio.create_task(compare())]
    await asyncio.gather(*(write() for _ in range(3)))
    is_done.set()
    await asyncio.gather(*helpers)
    await fold_counts(database)
    loads = await assert_exact(sql, database)
    assert loads["simulate"].created == loads["simulate"].ended == 3 * 25 * 7
    assert await sql.fetchval("SELECT count(*) FROM task_deltas") == 0
    assert await sql.fetchval("SELECT sum(ended) FROM task_rates") == 3 * 25 * 7


async def test_a_fold_that_dies_has_moved_nothing(database: Database, insert: Insert, sql: Connection) -> None:
    """It waits in the middle, its rows deleted and nothing added; PostgreSQL ends it; the next one does it all."""
    await insert(3)
    await fold_counts(database)
    await insert(4)
    async with sql.transaction():
        await sql.execute("SELECT FROM task_counts FOR UPDATE")
        folding = asyncio.create_task(fold_counts(database))
        await until(lambda: waiting_for_a_lock(database))
        (pid,) = await waiting_for_a_lock(database)
        await sql.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(DatabaseUnavailableError):
            await folding
    assert (await assert_exact(sql, database))["simulate"].pending == 7
    await fold_counts(database)
    assert await sql.fetchval("SELECT pending FROM task_counts") == 7


async def test_one_folds_and_a_lot_goes_in_batches(
    database: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not get the lock returns at once; no statement takes more than a batch."""
    row = "INSERT INTO task_deltas SELECT 'x', 'pending', 1 FROM generate_series(1, 2500)"
    await sql.execute(row)
    async with sql.transaction():
        await sql.execute("SELECT pg_advisory_xact_lock($1)", counts.FOLD_LOCK)
        await fold_counts(database)
        assert await sql.fetchval("SELECT count(*) FROM task_deltas") == 2500
    monkeypatch.setattr(counts, "_BATCH", 1_000)
    assert (await database.fetch(counts._FOLD, 1_000))[0][0] == 1_000
    await fold_counts(database)
    assert await sql.fetchval("SELECT count(*) FROM task_deltas") == 0
    assert (await read_loads(database))["x"].pending == 2500


async def test_rates_are_of_full_minutes(database: Database, sql: Connection) -> None:
    """The last five, folded or not; what ends now is counted since the first of it; after an hour all is forgotten."""
    note = """
    INSERT INTO task_deltas (kind, status, number, created, at)
    SELECT 'x', 'completed', $2, $1, date_trunc('minute', now()) + $3::interval"""
    await sql.execute(note, 100, 50, timedelta(minutes=-5))
    await sql.execute(note, 1_000, 1_000, timedelta(minutes=-6))
    await sql.execute(note, 0, 10, timedelta(minutes=-1, seconds=59))
    for _ in range(2):
        load = (await read_loads(database))["x"]
        assert (load.created_per_minute, load.ended_per_minute) == (20, 12)
        seconds = await sql.fetchval("SELECT extract(epoch FROM now() - date_trunc('minute', now()))::float8") + 1
        assert load.ended_per_second == pytest.approx(10 / seconds, rel=0.2)
        await fold_counts(database)
    await sql.execute("UPDATE task_rates SET minute = minute - interval '2 hours'")
    await sql.execute(note, 1, 1, timedelta(hours=-3))
    await fold_counts(database)
    assert await sql.fetchval("SELECT count(*) FROM task_rates") == 0
    assert (await read_loads(database))["x"].ended == 1_061


async def test_nobody_waits_for_a_counter(database: Database, sql: Connection, insert: Insert) -> None:
    """A statement that has noted and not committed, and a fold in the middle, keep back no writer."""
    await insert(1)
    async with sql.transaction():
        task = "INSERT INTO tasks (id, kind, content) VALUES ($1, 'simulate', '1')"
        await sql.execute(task, uuid4())
        await sql.execute("SELECT FROM task_counts FOR UPDATE")
        async with asyncio.timeout(1):
            await insert(1)
            assert (await read_loads(database))["simulate"].pending == 2


async def test_a_read_folds_what_no_consumer_has(database: Database, sql: Connection) -> None:
    """Or it would take longer with each write, until none is answered in time; what it says is exact all the same."""
    notes = counts._BATCH + 1
    await sql.execute(
        "INSERT INTO task_deltas (kind, status, number, created) "
        "SELECT 'simulate', 'pending', 1, 1 FROM generate_series(1, $1::int)",
        notes,
    )
    assert (await read_loads(database))["simulate"].pending == notes
    assert await sql.fetchval("SELECT count(*) FROM task_deltas") == 0
    assert (await read_loads(database))["simulate"].pending == notes
