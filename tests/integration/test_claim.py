"""Claims: each task once, whoever asks; never what is not due, not pending, or locked."""

import asyncio
from uuid import UUID, uuid4

from app.db.engine import Database
from app.queue.claim import SUSPECT_AT, claim_due, claim_ids, claim_suspects
from tests.integration.conftest import WANTED, Insert, claimant
from tests.support.types import Connection


async def test_concurrent_claims_share_the_tasks(database: Database, insert: Insert, consumer_id: UUID) -> None:
    """Three claimers at once, by id and by poll: every task is claimed exactly once, each claim under its own id."""
    ids = await insert(300)
    claims = await asyncio.gather(
        claim_ids(database, claimant(consumer_id), ids),
        claim_ids(database, claimant(consumer_id), ids[::-1]),
        claim_due(database, claimant(consumer_id), 300, WANTED),
    )
    claimed = [claim for part in claims for claim in part]
    assert sorted(claim.id for claim in claimed) == sorted(ids)
    assert len({claim.claim_id for claim in claimed}) == 300
    assert {claim.attempt for claim in claimed} == {1}


async def test_a_locked_row_is_skipped_not_waited_for(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """A second connection holds a row: the others are claimed at once."""
    ids = await insert(3)
    async with sql.transaction():
        await sql.execute("SELECT FROM tasks WHERE id = $1 FOR UPDATE", ids[1])
        async with asyncio.timeout(1):
            assert {c.id for c in await claim_ids(database, claimant(consumer_id), ids)} == {ids[0], ids[2]}
    assert [c.id for c in await claim_due(database, claimant(consumer_id), 10, WANTED)] == [ids[1]]


async def test_a_poll_takes_the_oldest_due(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """In the order of run_at, and nothing that is due later, be it asked for by its id."""
    ids = await insert(4)
    await sql.execute("UPDATE tasks SET run_at = now() - interval '1 minute' WHERE id = $1", ids[2])
    await sql.execute("UPDATE tasks SET run_at = now() + interval '1 minute' WHERE id = $1", ids[0])
    assert [c.id for c in await claim_due(database, claimant(consumer_id), 1, WANTED)] == [ids[2]]
    assert await claim_ids(database, claimant(consumer_id), [ids[0]]) == []
    assert {c.id for c in await claim_due(database, claimant(consumer_id), 10, WANTED)} == {ids[1], ids[3]}


async def test_only_pending_tasks_are_claimed(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """A hint for a task that was canceled, or that never was, claims nothing."""
    ids = await insert(2)
    await sql.execute("UPDATE tasks SET status = 'canceled' WHERE id = $1", ids[0])
    assert [c.id for c in await claim_ids(database, claimant(consumer_id), [*ids, uuid4()])] == [ids[1]]


async def test_a_consumer_without_a_lease_claims_nothing(database: Database, insert: Insert) -> None:
    """Declared dead, it may still run for a moment: what it claims would be lost at once."""
    ids = await insert(2)
    assert await claim_ids(database, claimant(uuid4()), ids) == []
    assert await claim_due(database, claimant(uuid4()), 10, WANTED) == []


async def test_suspects_are_for_quarantine_only(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """A task lost too often is claimed neither by id nor by an ordinary poll."""
    ids = await insert(2)
    await sql.execute("UPDATE tasks SET lost_count = $2 WHERE id = $1", ids[0], SUSPECT_AT)
    await sql.execute("UPDATE tasks SET lost_count = $2 WHERE id = $1", ids[1], SUSPECT_AT - 1)
    assert [c.id for c in await claim_suspects(database, claimant(consumer_id), 10)] == [ids[0]]
    await sql.execute("UPDATE tasks SET status = 'pending' WHERE id = $1", ids[0])
    assert [c.id for c in await claim_ids(database, claimant(consumer_id), ids)] == [ids[1]]
    assert await claim_due(database, claimant(consumer_id), 10, WANTED) == []


async def test_kinds_that_a_consumer_does_not_know_are_left_to_others(
    database: Database, insert: Insert, consumer_id: UUID
) -> None:
    """During a deployment: the older consumer leaves the newer kind alone, by id and by poll."""
    ids = await insert(2)
    older = claimant(consumer_id, "another")
    assert await claim_ids(database, older, ids) == []
    assert await claim_due(database, older, 10, [(1, "another")]) == []
    assert len(await claim_due(database, claimant(consumer_id, "another", "simulate"), 10, WANTED)) == 2
