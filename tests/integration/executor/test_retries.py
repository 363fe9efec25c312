"""When a task runs again: after an error, when its handler says so, and when it snoozes."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.core.events import AttemptFailed, TasksSnoozed
from app.handler_api.outcome import ErrorCode, Retry, Snooze
from tests.integration.executor.conftest import Count, Execute, raises, task_row
from tests.support.types import Connection
from tests.support.waiting import EventLog


@pytest.mark.parametrize(("attempt", "highest"), [(1, 2), (2, 4), (4, 10)])
async def test_an_exception_is_tried_again_after_a_while(
    execute: Execute, events: EventLog, sql: Connection, attempt: int, highest: int
) -> None:
    """At random within a span that doubles, up to the cap; the error is in the history."""
    async with execute(raises, attempt=attempt, retry_cap_seconds=10):
        failed = await events.seen(AttemptFailed)
    row = await task_row(sql)
    assert (row["status"], row["attempt"], row["error"]) == ("pending", attempt, None)
    assert row["consumer_id"] is None
    assert 0 <= failed.seconds <= highest
    assert row["due"] == pytest.approx(failed.seconds, abs=1)
    (error,) = row["history"]
    assert error["code"] == "handler_error"
    assert error["message"] == "ValueError: boom"
    assert error["attempt"] == attempt
    assert datetime.fromisoformat(error["at"])


async def test_a_handler_says_when_to_try_again(execute: Execute, sql: Connection) -> None:
    """Its `after` overrides the backoff; reason and code are kept."""

    async def busy(_: Count, __: object) -> Retry:
        return Retry(3600, "the other side is busy", ErrorCode.DEPENDENCY_UNAVAILABLE)

    async with execute(busy, attempt=1):
        pass
    row = await task_row(sql)
    assert row["due"] == pytest.approx(3600, abs=5)
    assert row["history"][0]["code"] == "dependency_unavailable"
    assert row["history"][0]["message"] == "the other side is busy"


@pytest.mark.parametrize("after", [float("inf"), float("nan"), -5, 1e300])
async def test_a_strange_delay_is_put_right(execute: Execute, sql: Connection, after: float) -> None:
    """Whatever a handler says, its task is pending, at some time that there is."""

    async def says(_: Count, __: object) -> Retry:
        return Retry(after)

    async with execute(says, attempt=1):
        pass
    row = await task_row(sql)
    assert row["status"] == "pending"
    assert -5 <= row["due"] <= 3_650 * 86_400


async def test_attempts_that_were_lost_do_not_count(execute: Execute, sql: Connection) -> None:
    """Two of five runs ended with their consumers; MAX_LOST counts those."""
    async with execute(raises, attempt=5) as executor:
        (run,) = executor.runs.values()
        run.claim = replace(run.claim, lost_count=2)
    assert (await task_row(sql))["status"] == "pending"


async def test_the_history_is_bounded(execute: Execute, sql: Connection) -> None:
    """Of a thousand attempts the last twenty are told."""
    errors = json.dumps([{"code": "handler_error", "message": "old", "attempt": n, "at": "x"} for n in range(1, 21)])

    async def has_a_past(_: Count, __: object) -> None:
        await sql.execute("UPDATE tasks SET history = $1::text::jsonb", errors)
        raise ValueError

    async with execute(has_a_past, attempt=21, max_attempts=1_000):
        pass
    assert [error["attempt"] for error in (await task_row(sql))["history"]] == list(range(2, 22))


async def test_a_snoozed_task_waits_and_burns_no_attempt(execute: Execute, events: EventLog, sql: Connection) -> None:
    """It is no failure: nothing is in the history."""
    until = datetime.now(UTC) + timedelta(hours=1)

    async def snoozes(_: Count, __: object) -> Snooze:
        return Snooze(until)

    async with execute(snoozes, attempt=1):
        await events.seen(TasksSnoozed)
    row = await task_row(sql)
    assert (row["status"], row["attempt"], row["history"], row["run_at"]) == ("pending", 0, None, until)
