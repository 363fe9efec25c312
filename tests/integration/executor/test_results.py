"""What a handler returns is its task's result; what can't be stored fails its own task."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.consumer.recorder import Recorder
from app.consumer.verdict import Completed
from app.core.events import TaskFailed, TasksCompleted
from app.db.engine import Database
from app.queue.claim import claim_due
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup
from tests.integration.conftest import WANTED, Insert, claimant
from tests.integration.executor.conftest import Count, Execute, task_row
from tests.support.types import Connection
from tests.support.waiting import EventLog


@pytest.mark.parametrize("answer", [None, True, 7, "text", {"rows": [1, 2]}, datetime(2030, 1, 1, tzinfo=UTC)])
async def test_a_plain_return_value_is_the_result(execute: Execute, sql: Connection, answer: object) -> None:
    """As JSON; None is done as well, with nothing to say."""

    async def answers(_: Count, __: object) -> object:
        return answer

    async with execute(answers):
        pass
    row = await task_row(sql)
    assert row["status"] == "completed"
    assert row["result"] == ("2030-01-01T00:00:00Z" if isinstance(answer, datetime) else answer)
    assert row["started_at"] < row["finished_at"]


@pytest.mark.parametrize("strange", [float("nan"), {"a": [float("inf")]}, "\ud800", b"\xff"])
async def test_a_result_that_is_no_json_fails_its_own_task(execute: Execute, sql: Connection, strange: object) -> None:
    """Said, and recorded; a result that only names them is as good as any."""

    async def answers(_: Count, __: object) -> object:
        return strange

    async with execute(answers):
        pass
    error = (await task_row(sql))["error"]
    assert error["code"] == "handler_error"
    assert error["message"].startswith("The result is no JSON: ")


async def test_words_that_look_like_no_json_are_text(execute: Execute, sql: Connection) -> None:
    """NaN in a string is three letters."""

    async def answers(_: Count, __: object) -> object:
        return ["NaN", {"Infinity": "-Infinity"}]

    async with execute(answers):
        pass
    assert (await task_row(sql))["result"] == ["NaN", {"Infinity": "-Infinity"}]


async def test_large_results_are_not_all_in_one_statement(
    database: Database, wakeup: Wakeup, events: EventLog, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """One that takes longer than a statement may would be sent again for ever."""
    recorder = Recorder(database, FollowUp(database, wakeup, events), events)
    await insert(30)
    claims = await claim_due(database, claimant(consumer_id), 30, WANTED)
    result = f'"{"x" * 2**20}"'
    await asyncio.gather(*(recorder.submit(claim, Completed(result)) for claim in claims))
    assert await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'completed'") == 30
    assert max(len(event.task_ids) for event in events.of(TasksCompleted)) < 8


async def test_what_postgresql_refuses_fails_its_own_task(
    database: Database, wakeup: Wakeup, events: EventLog, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """A result that no check of ours caught: of a batch of eleven, ten are completed."""
    recorder = Recorder(database, FollowUp(database, wakeup, events), events)
    await insert(11)
    claims = await claim_due(database, claimant(consumer_id), 11, WANTED)
    results = ["[1, 2]"] * 5 + ["no json"] + [None] * 5
    await asyncio.gather(*(recorder.submit(c, Completed(r)) for c, r in zip(claims, results, strict=True)))
    rows = {row["id"]: row["status"] for row in await sql.fetch("SELECT id, status FROM tasks")}
    assert [rows[claim.id] for claim in claims] == ["completed"] * 5 + ["failed"] + ["completed"] * 5
    assert "PostgreSQL refuses" in events.of(TaskFailed)[0].message
