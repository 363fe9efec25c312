"""A round of maintenance: none of its parts keeps back another."""

import asyncio
from uuid import UUID, uuid4

import pytest

from app.consumer.forks import Forks
from app.consumer.heartbeat import Lease
from app.consumer.maintenance import Sweeper
from app.consumer.quarantine_pool import QuarantinePool
from app.core.config import Settings
from app.core.errors import DatabaseUnavailableError
from app.core.recurrence import Recurrence
from app.core.schedule import Missed, NewSchedule
from app.db.engine import Database
from app.queue.claim import claim_ids
from app.queue.follow_up import FollowUp
from app.queue.schedule import put_schedule
from app.queue.wakeup import Wakeup
from tests.integration.conftest import Insert, claimant
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


async def _due_schedule(database: Database, sql: Connection) -> None:
    leap_days = Recurrence("0 0 29 2 *", "UTC")  # so that no tick of its own falls into the second below
    await put_schedule(database, NewSchedule("due", leap_days, "simulate", "1", Missed.SKIP, enabled=True))
    await sql.execute("UPDATE schedules SET next_run_at = clock_timestamp() - interval '1 second'")


@pytest.fixture
def lease() -> Lease:
    """Of the consumer that sweeps."""
    return Lease(uuid4())


@pytest.fixture
def sweeper(
    settings: Settings,
    database: Database,
    wakeup: Wakeup,
    follow_up: FollowUp,
    events: EventLog,
    forks: Forks,
    lease: Lease,
) -> Sweeper:
    """Of a consumer of one kind."""
    quarantines = QuarantinePool(database, forks, 1, events)
    return Sweeper(*(database, wakeup, follow_up, ["simulate"], lease, settings, events, quarantines), lambda _: None)


async def test_a_tick_does_not_wait_for_a_recovery_that_waits(
    sweeper: Sweeper, database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """Somebody holds the row of a dead consumer's task for as long as it likes."""
    await claim_ids(database, claimant(consumer_id), await insert())
    await _due_schedule(database, sql)
    await sql.execute("DELETE FROM consumers")
    async with sql.transaction():
        await sql.execute("SELECT FROM tasks FOR UPDATE")
        sweeping = asyncio.create_task(sweeper.sweep())

        async def has_ticked() -> bool:
            return len(await database.fetch("SELECT FROM tasks WHERE status = 'pending'")) == 1

        await until(has_ticked)
    await sweeping
    assert await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'pending'") == 2


async def test_a_part_that_fails_keeps_back_none_behind_it(
    sweeper: Sweeper, database: Database, sql: Connection
) -> None:
    """One has to wait until it gives up: those behind it get their turn all the same."""
    await _due_schedule(database, sql)
    await sql.execute("INSERT INTO groups (id, on_failure, total) VALUES (gen_random_uuid(), 'continue', 0)")
    async with sql.transaction():
        await sql.execute("LOCK TABLE schedules IN EXCLUSIVE MODE")  # it can be looked at, and no tick be made
        await sweeper.sweep()
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 0
    assert await sql.fetchval("SELECT ended_at IS NOT NULL FROM groups")


async def test_who_could_not_look_buries_nobody_for_a_lease(
    sweeper: Sweeper, lease: Lease, settings: Settings, sql: Connection
) -> None:
    """What kept its sweep may have kept others' beats, though its own got through."""
    silent = "SELECT count(*) FROM consumers WHERE host = 'silent'"
    await sql.execute(
        "INSERT INTO consumers (id, host, pid, beat_at) VALUES (gen_random_uuid(), 'silent', 0, now() - interval '1 h')"
    )
    async with sql.transaction():
        await sql.execute("LOCK TABLE consumers IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailableError):
            await sweeper.sweep()
    await sweeper.sweep()
    assert await sql.fetchval(silent) == 1
    lease.troubled_at -= settings.lease_seconds
    await sweeper.sweep()
    assert await sql.fetchval(silent) == 0


async def test_old_idempotency_keys_are_forgotten_now_and_then(
    sweeper: Sweeper, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at each round, which would cost an idle consumer a statement more."""
    fill = "INSERT INTO idempotency_keys SELECT uuid_send(gen_random_uuid()), '', '{}', now() - interval '25 hours'"
    await sql.execute(fill)
    monkeypatch.setattr(sweeper, "_forget_at", 0.0)
    await sweeper.sweep()
    assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 0
    await sql.execute(fill)
    await sweeper.sweep()
    assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 1
