"""The fence: only the holder of the current claim writes a task, and a terminal record stays."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from app.core.task import Claim, ErrorCode, Task
from app.db.engine import Database
from app.queue.cancel import Canceler
from app.queue.claim import claim_ids
from app.queue.finish import Failure, complete, fail, release
from tests.integration.conftest import Insert, claimant
from tests.support.types import Connection
from tests.support.waiting import until

FAILURE = Failure(ErrorCode.HANDLER_ERROR, "y")


async def _claimed(database: Database, insert: Insert, consumer_id: UUID, count: int = 1) -> list[Claim]:
    return await claim_ids(database, claimant(consumer_id), await insert(count))


async def _canceled(canceler: Canceler, claim: Claim) -> str:
    (task,) = await canceler.cancel([claim.id])
    assert task is not None
    return task.status


async def _statuses(sql: Connection) -> set[str]:
    return {row[0] for row in await sql.fetch("SELECT DISTINCT status FROM tasks")}


async def test_complete_and_fail_end_a_task(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """Each writes its record; `error` says what happened, even where the message is not what JSONB takes."""
    done, failed = await _claimed(database, insert, consumer_id, 2)
    assert set(await complete(database, [done], [None])) == {done.id}
    failure = Failure(ErrorCode.HANDLER_ERROR, "bad \0 \ud800 text")
    assert set(await fail(database, [failed], [failure])) == {failed.id}
    error = await sql.fetchval("SELECT error::text FROM tasks WHERE id = $1", failed.id)
    assert '"code": "handler_error"' in error
    assert '"attempt": 1' in error
    assert await sql.fetchval("SELECT status FROM tasks WHERE id = $1", done.id) == "completed"


@pytest.mark.parametrize("verb", ["complete", "fail", "release"])
async def test_an_old_claim_writes_nothing(
    verb: str, database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """A zombie: its task was recovered and claimed again, so its claim id is no longer the row's."""
    (claim,) = await _claimed(database, insert, consumer_id)
    await release(database, [(claim.id, claim.claim_id)])
    (current,) = await claim_ids(database, claimant(consumer_id), [claim.id])
    assert current.claim_id != claim.claim_id
    match verb:
        case "complete":
            assert not await complete(database, [claim], [None])
        case "fail":
            assert not await fail(database, [claim], [FAILURE])
        case _:
            assert await release(database, [(claim.id, claim.claim_id)]) == []
    assert await sql.fetchval("SELECT claim_id FROM tasks") == current.claim_id
    assert await _statuses(sql) == {"processing"}


async def test_a_canceled_task_is_never_completed(
    database: Database, insert: Insert, consumer_id: UUID, canceler: Canceler, sql: Connection
) -> None:
    """The cancel holds the row while the completion waits for it: the completion finds its claim gone."""
    (claim,) = await _claimed(database, insert, consumer_id)
    async with sql.transaction():
        await sql.execute("UPDATE tasks SET status = 'canceled' WHERE id = $1", claim.id)
        completing = asyncio.create_task(complete(database, [claim], [None]))
        await until(lambda: database.fetch("SELECT FROM pg_locks WHERE NOT granted"))
    assert not await completing
    assert await _statuses(sql) == {"canceled"}
    (task,) = await canceler.cancel([claim.id])
    assert task is not None
    assert task.status == "canceled"


async def test_a_completed_task_is_never_canceled(
    database: Database, insert: Insert, consumer_id: UUID, canceler: Canceler, sql: Connection
) -> None:
    """The other way round: the cancel passes the row over while it is locked, then finds it completed, and says so."""
    (claim,) = await _claimed(database, insert, consumer_id)
    async with sql.transaction():
        await sql.execute("UPDATE tasks SET status = 'completed' WHERE id = $1", claim.id)
        assert await _canceled(canceler, claim) == "processing"
    assert await _canceled(canceler, claim) == "completed"


async def test_many_are_canceled_while_one_of_them_is_locked(
    database: Database, insert: Insert, canceler: Canceler, sql: Connection
) -> None:
    """Those that are free at once: they are not locked as well, until the one can be."""
    held, *free = await insert(10)
    async with sql.transaction():
        await sql.execute("SELECT FROM tasks WHERE id = $1 FOR UPDATE", held)
        canceling = asyncio.create_task(canceler.cancel_all([held, *free]))

        async def are_canceled() -> bool:
            rows = await database.fetch("SELECT id FROM tasks WHERE status = 'canceled'")
            return {row["id"] for row in rows} == set(free)

        await until(are_canceled)
    assert await canceling == 10


async def test_a_batch_with_an_old_and_a_new_claim_of_a_task_writes_what_the_new_one_says(
    database: Database, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """Whichever comes first in it."""
    (old,) = await _claimed(database, insert, consumer_id)
    await release(database, [(old.id, old.claim_id)])
    (current,) = await claim_ids(database, claimant(consumer_id), [old.id])
    await complete(database, [old, current], ['"old"', '"current"'])
    assert await sql.fetchval("SELECT result::text FROM tasks") == '"current"'


async def test_cancel_and_complete_at_the_same_time_have_one_winner(
    database: Database, insert: Insert, consumer_id: UUID, canceler: Canceler, sql: Connection
) -> None:
    """500 races: what the cancel answers is what the row is, and stays."""
    claims = await _claimed(database, insert, consumer_id, 500)
    halves = [claims[i::10] for i in range(10)]
    completing = asyncio.gather(*(complete(database, half, [None] * len(half)) for half in halves))

    async def cancel(half: list[Claim]) -> list[Task | None]:
        while True:
            tasks = await canceler.cancel([claim.id for claim in half])
            if all(task and task.status != "processing" for task in tasks):
                return tasks

    canceling = asyncio.gather(*map(cancel, halves))
    completed = {task_id for part in await completing for task_id in part}
    told = {task.id: task.status for part in await canceling for task in part if task}
    rows = {row["id"]: row["status"] for row in await sql.fetch("SELECT id, status FROM tasks")}
    assert told == rows
    assert completed == {task_id for task_id, status in rows.items() if status == "completed"}


async def test_an_answer_that_was_lost_still_counts(database: Database, insert: Insert, consumer_id: UUID) -> None:
    """Completing again under the same claim says yes; under another claim it does not."""
    (claim,) = await _claimed(database, insert, consumer_id)
    assert set(await complete(database, [claim], [None])) == {claim.id}
    assert set(await complete(database, [claim], [None])) == {claim.id}
    assert not await complete(database, [replace(claim, claim_id=uuid4())], [None])
    assert not await fail(database, [claim], [FAILURE])


async def test_release_burns_no_attempt(database: Database, insert: Insert, consumer_id: UUID, sql: Connection) -> None:
    """Released and claimed again, it is still the first attempt."""
    (claim,) = await _claimed(database, insert, consumer_id)
    assert [task.id for task in await release(database, [(claim.id, claim.claim_id)])] == [claim.id]
    assert await sql.fetchval("SELECT consumer_id IS NULL AND claim_id IS NULL FROM tasks")
    (again,) = await claim_ids(database, claimant(consumer_id), [claim.id])
    assert again.attempt == 1


async def test_batches_in_opposite_order_do_not_deadlock(
    database: Database, insert: Insert, consumer_id: UUID, canceler: Canceler
) -> None:
    """Completions, cancels and releases over the same rows, forwards and backwards, all get through."""
    for _ in range(5):
        claims = await _claimed(database, insert, consumer_id, 200)
        pairs = [(c.id, c.claim_id) for c in claims]
        await asyncio.gather(
            complete(database, claims, [None] * len(claims)),
            complete(database, claims[::-1], [None] * len(claims)),
            canceler.cancel([c.id for c in claims[::-1]]),
            release(database, pairs[::-1]),
        )
