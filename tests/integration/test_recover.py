"""Leases, and what becomes of the tasks of the dead."""

import asyncio
import json
from uuid import UUID, uuid4

from app.db.engine import Database
from app.queue.claim import claim_due, claim_ids, claim_suspects
from app.queue.recover import held_rows, look, recover, register
from tests.integration.conftest import WANTED, Insert, claimant
from tests.support.types import Connection
from tests.support.waiting import until

LEASE = 10.0


async def _die(sql: Connection, consumer_id: UUID) -> None:
    await sql.execute("UPDATE consumers SET beat_at = now() - interval '11 seconds' WHERE id = $1", consumer_id)


async def test_tasks_of_a_silent_consumer_are_pending_again(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """Its lease is over by PostgreSQL's clock; a consumer that beats keeps its tasks."""
    living = uuid4()
    await register(database, living, "test", 2, ["simulate"])
    lost = await insert(2)
    kept = await insert(1)
    await claim_ids(database, claimant(consumer_id), lost)
    await claim_ids(database, claimant(living), kept)
    assert not (await look(database, LEASE, ["simulate"])).has_dead
    assert (await recover(database, LEASE, 3)).pending == []
    await _die(sql, consumer_id)
    assert (await look(database, LEASE, ["simulate"])).has_dead
    assert sorted(task.id for task in (await recover(database, LEASE, 3)).pending) == sorted(lost)
    assert not (await look(database, LEASE, ["simulate"])).has_dead
    assert set(await held_rows(database, living)) == set(kept)
    again = await claim_due(database, claimant(living), 10, WANTED)
    assert {(c.id, c.attempt) for c in again} == {(task_id, 2) for task_id in lost}


async def test_processing_rows_without_a_consumer_are_found(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """Its row is gone already, as after a stop that could not write everything."""
    ids = await insert(3)
    await claim_ids(database, claimant(consumer_id), ids)
    await sql.execute("DELETE FROM consumers")
    assert (await look(database, LEASE, ["simulate"])).has_dead
    assert sorted(task.id for task in (await recover(database, LEASE, 3)).pending) == sorted(ids)


async def test_a_task_lost_too_often_is_failed(database: Database, insert: Insert, sql: Connection) -> None:
    """The third loss ends it as consumer_lost."""
    (task_id,) = await insert()
    await sql.execute("UPDATE tasks SET lost_count = 2")
    await sql.execute(
        "UPDATE tasks SET status = 'processing', claim_id = gen_random_uuid(), consumer_id = $1, attempt = 3", uuid4()
    )
    recovered = await recover(database, LEASE, 3)
    assert (recovered.pending, [task.id for task in recovered.failed]) == ([], [task_id])
    status, error = (await sql.fetch("SELECT status, error::text FROM tasks"))[0]
    assert status == "failed"
    assert json.loads(error)["code"] == "consumer_lost"


async def test_no_more_quarantines_are_asked_for_than_there_are_suspects(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """One that waits for suspects is enough for one; one that has its hands full is none."""

    async def has_suspects() -> bool:
        await sql.execute("UPDATE consumers SET started_at = started_at - interval '1 minute'")
        return (await look(database, LEASE, ["simulate"])).has_suspects

    await register(database, consumer_id, "test", 1, ["simulate"])
    await insert(2)
    await sql.execute("UPDATE tasks SET lost_count = 2")
    quarantine, another = uuid4(), uuid4()
    await register(database, quarantine, "test", 2, [])
    assert await has_suspects()
    await register(database, another, "test", 3, [])
    assert not await has_suspects()
    await claim_suspects(database, claimant(quarantine), 1)
    assert not await has_suspects()  # one waits, and so does `another`
    await claim_suspects(database, claimant(another), 1)
    await insert()
    await sql.execute("UPDATE tasks SET lost_count = 2")
    assert await has_suspects()


async def test_one_sweep_at_a_time(database: Database, insert: Insert, consumer_id: UUID, sql: Connection) -> None:
    """Ten sweeps at once take each task back once; one that finds the lock taken returns at once."""
    await claim_ids(database, claimant(consumer_id), await insert(50))
    await _die(sql, consumer_id)
    sweeps = await asyncio.gather(*(recover(database, LEASE, 3) for _ in range(4)))
    assert sorted(len(sweep.pending) for sweep in sweeps) == [0, 0, 0, 50]
    assert {row[0] for row in await sql.fetch("SELECT lost_count FROM tasks")} == {1}


async def test_a_beat_that_comes_in_time_saves_its_tasks(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """The beat holds the consumer's row while the sweep waits to bury it: the sweep looks again, and lets it live."""
    ids = await insert(2)
    await claim_ids(database, claimant(consumer_id), ids)
    await _die(sql, consumer_id)
    async with sql.transaction():
        await sql.execute("UPDATE consumers SET beat_at = clock_timestamp() WHERE id = $1", consumer_id)
        sweeping = asyncio.create_task(recover(database, LEASE, 3))
        await until(lambda: sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    assert (await sweeping).pending == []
    assert set(await held_rows(database, consumer_id)) == set(ids)
