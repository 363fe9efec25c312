"""Handlers that are stopped: by a cancel, by a release, and when their time is over."""

import asyncio
import contextlib
from datetime import datetime
from uuid import UUID

import pytest

from app.consumer.executor import Executor
from app.consumer.run import StopReason
from app.core.events import ClaimLost, HandlerStopped, HandlerStuck, TasksCompleted, TasksReleased
from app.db.engine import Database
from app.handler_api.context import Options, TaskContext
from app.handler_api.outcome import Done
from app.queue.cancel import Canceler
from app.queue.claim import claim_due
from tests.integration.conftest import WANTED, claimant
from tests.integration.executor.conftest import Count, Execute, task_row
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


async def _hangs(_: Count, __: object) -> Done:
    await asyncio.Event().wait()
    return Done()


async def test_a_canceled_handler_records_nothing(
    execute: Execute, events: EventLog, canceler: Canceler, sql: Connection
) -> None:
    """The row is canceled already; the handler is stopped at its await."""
    async with execute(_hangs) as executor:
        (run,) = executor.runs.values()
        await asyncio.sleep(0)
        await canceler.cancel([run.claim.id])
        executor.stop(run, StopReason.CANCELED)
        await events.seen(HandlerStopped)
    assert await sql.fetchval("SELECT status FROM tasks") == "canceled"


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_released_task_is_pending_again(
    execute: Execute, events: EventLog, sql: Connection, *, has_begun: bool
) -> None:
    """Also when it is stopped before its handler's first step."""
    async with execute(_hangs) as executor:
        if has_begun:
            await asyncio.sleep(0)
        executor.stop_all(StopReason.RELEASED)
        await events.seen(TasksReleased)
    assert tuple((await sql.fetch("SELECT status, attempt FROM tasks"))[0]) == ("pending", 4)


async def test_what_a_claim_still_brings_is_given_back(
    execute: Execute, database: Database, consumer_id: UUID, events: EventLog, sql: Connection
) -> None:
    """Its answer comes after all were told to stop: nobody would tell its handlers, and they would run to the end."""
    begun = []

    async def begins(_: Count, __: object) -> Done:
        begun.append(True)
        return Done()

    async with execute(begins) as executor:
        executor.give_back()
        await events.seen(TasksReleased)
        (claim,) = await claim_due(database, claimant(consumer_id), 1, WANTED)
        executor.start(claim)
        await until(lambda: _has_ended(executor))
    assert not begun
    assert tuple((await sql.fetch("SELECT status, attempt FROM tasks"))[0]) == ("pending", 4)
    assert len(events.of(TasksReleased)) == 2


async def _has_ended(executor: Executor) -> bool:
    return not executor.runs


async def test_an_outcome_that_comes_too_late_is_dropped(
    execute: Execute, events: EventLog, canceler: Canceler, sql: Connection
) -> None:
    """The task was canceled while its handler ended: said, and dropped."""
    go_on = asyncio.Event()

    async def ends_when_told(_: Count, __: object) -> Done:
        await go_on.wait()
        return Done()

    async with execute(ends_when_told) as executor:
        (run,) = executor.runs.values()
        await canceler.cancel([run.claim.id])
        go_on.set()
        assert (await events.seen(ClaimLost)).task_id == run.claim.id
    assert await sql.fetchval("SELECT status FROM tasks") == "canceled"


async def test_a_stopped_run_leaves_no_timer(execute: Execute) -> None:
    """A day's timeout would keep it, and its content, for a day."""
    async with execute(_hangs, timeout_seconds=86_400) as executor:
        (run,) = executor.runs.values()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        timeout = run.timer
        assert timeout is not None
        executor.stop_all(StopReason.RELEASED)
        assert timeout.cancelled()


async def test_a_timeout_ends_the_attempt(execute: Execute, events: EventLog, sql: Connection) -> None:
    """The handler is stopped, knows its deadline, and the code says why."""
    deadlines: list[datetime | None] = []

    async def hangs(_: Count, task: TaskContext[Options]) -> None:
        deadlines.append(task.deadline)
        assert task.seconds_left is not None
        assert 0 < task.seconds_left <= 0.2
        await asyncio.Event().wait()

    async with execute(hangs, timeout_seconds=0.2, attempt=1):
        await events.seen(HandlerStopped)
    row = await task_row(sql)
    assert row["status"] == "pending"
    assert row["history"][0]["code"] == "timeout"
    (deadline,) = deadlines
    assert deadline is not None
    assert abs((deadline - row["started_at"]).total_seconds() - 0.2) < 1


async def test_a_handler_that_turns_its_stop_into_an_error_has_timed_out(execute: Execute, sql: Connection) -> None:
    """What it makes of being cancelled is no failure of its own."""

    async def wraps(_: Count, __: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("cancelled") from None

    async with execute(wraps, timeout_seconds=0.05):
        pass
    row = await task_row(sql)
    assert (row["status"], row["error"]["code"]) == ("failed", "timeout")


async def test_what_comes_after_the_time_is_over_does_not_count(execute: Execute, sql: Connection) -> None:
    """It catches its cancellation, and returns something nevertheless: it took too long all the same."""

    async def returns_late(_: Count, __: object) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "late"

    async with execute(returns_late, timeout_seconds=0.05):
        pass
    row = await task_row(sql)
    assert (row["status"], row["error"]["code"], row["result"]) == ("failed", "timeout", None)


async def test_a_handler_that_will_not_stop_loses_its_slot(execute: Execute, events: EventLog, sql: Connection) -> None:
    """Told, and once more after its grace; then its task goes on without it, and what it returns later is void."""
    let_go = asyncio.Event()
    times_told = 0

    async def holds_out(_: Count, task: TaskContext[Options]) -> str:
        nonlocal times_told
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                assert task.is_canceled
                times_told += 1
        return "too late"

    async with execute(holds_out, timeout_seconds=0.05, attempt=1):
        stuck = await events.seen(HandlerStuck)
    assert "holds_out" in stuck.stack
    await until(lambda: _is(times_told == 2))
    row = await task_row(sql)
    assert (row["status"], row["history"][0]["code"]) == ("pending", "timeout")
    let_go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await task_row(sql))["status"] == "pending"
    assert not events.of(TasksCompleted)


async def _is(fact: bool) -> bool:  # noqa: FBT001 - the fact
    return fact
