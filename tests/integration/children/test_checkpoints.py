"""Checkpoints of handlers in children, on the task's own row."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.consumer.children import ChildPool
from app.core.errors import LostClaimError
from app.core.task import Claim
from app.db.engine import Database
from app.handler_api.outcome import Done, Retry
from app.queue.claim import claim_ids
from tests.integration.children.conftest import job, unlimited
from tests.integration.conftest import claimant
from tests.support.pids import lines, pid_in
from tests.support.types import Connection


@pytest.fixture
async def claimed(database: Database, consumer_id: UUID, sql: Connection) -> Callable[..., Awaitable[Claim]]:
    """Create a task of the kind `isolated`, and claim it."""
    await sql.execute("CREATE TABLE effects (number int)")

    async def claim(do: str, file: Path | None = None) -> Claim:
        task_id = uuid7()
        await sql.execute(
            "INSERT INTO tasks (id, kind, content) VALUES ($1, 'isolated', $2::text::json)",
            task_id,
            job(do, file=file).content,
        )
        (claim,) = await claim_ids(database, claimant(consumer_id, "isolated"), [task_id])
        return claim

    return claim


async def test_checkpoints_work_in_a_child(
    pool: ChildPool, claimed: Callable[..., Awaitable[Claim]], sql: Connection
) -> None:
    """What it wrote before it died stays, and the next attempt goes on from the cursor: each effect once."""
    claim = await claimed("checkpoint")
    assert isinstance(await pool.run(claim, unlimited), Retry)
    cursor = await sql.fetchval("SELECT cursor::text FROM tasks")
    assert cursor == "5"
    again = Claim(claim.id, claim.claim_id, claim.kind, claim.content, 2, cursor=cursor)
    outcome = await pool.run(again, unlimited)
    assert isinstance(outcome, Done)
    assert json.loads(str(outcome.result)) == {"start": 5, "attempt": 2, "payload": "checkpoint"}
    assert [row[0] for row in await sql.fetch("SELECT number FROM effects ORDER BY number")] == list(range(10))
    progress = json.loads(await sql.fetchval("SELECT progress::text FROM tasks"))
    assert progress == {"done": 10.0, "total": 10.0, "message": "counted"}


async def test_a_lost_claim_is_said(
    pool: ChildPool, claimed: Callable[..., Awaitable[Claim]], sql: Connection, tmp_path: Path
) -> None:
    """The task is canceled under its handler: the next checkpoint writes nothing, and ends the run."""
    file = tmp_path / "notes"
    run = asyncio.create_task(pool.run(await claimed("checkpoint_until_lost", file), unlimited))
    await pid_in(file)
    await sql.execute("UPDATE tasks SET status = 'canceled'")
    with pytest.raises(LostClaimError):
        await run
    assert lines(file)[1:] == ["lost its claim"]
    assert isinstance(await pool.run(job("pid"), unlimited), Done)
