"""Isolated handlers in real child processes, without a consumer around them."""

import asyncio
import json
import os
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.consumer.children import ChildPool
from app.consumer.verdict import JsonText
from app.core.config import Settings
from app.core.errors import LostClaimError
from app.core.events import ChildKilled, ChildNotStarted, ChildReplaced, ChildStarted
from app.core.task import Claim, ErrorCode
from app.db.engine import Database
from app.handler_api.outcome import Done, Fail, Outcome, Retry, Snooze
from app.queue.claim import claim_ids
from tests.integration.conftest import claimant
from tests.support.pids import are_gone, lines, pid_in
from tests.support.types import Connection
from tests.support.waiting import EventLog

Pool = Callable[..., ChildPool]
Run = Callable[..., "asyncio.Task[Outcome]"]


@pytest.fixture
async def make_pool(settings: Settings, events: EventLog, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    """Build a pool; its children read their settings from the environment, as in production."""
    pools = []
    environment = settings.model_dump(include={"database_url", "redis_url"}) | {
        "handler_modules": "tests.handlers.isolated"
    }
    for name, value in environment.items():
        monkeypatch.setenv(name.upper(), value)

    def make(**others: object) -> ChildPool:
        for name, value in others.items():
            monkeypatch.setenv(name.upper(), str(value))
        pools.append(ChildPool(settings.model_copy(update={"cancel_grace_seconds": 1.0} | others), events))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()
        assert not pool._children
        await asyncio.gather(*pool._background)


@pytest.fixture
def pool(make_pool: Pool) -> ChildPool:
    """A pool."""
    return make_pool()


def unlimited() -> None:
    """No deadline."""


def job(do: str, value: Any = None, file: Path | None = None) -> Claim:
    """A claim of a task that nobody has created: enough for handlers that leave PostgreSQL alone."""
    content = json.dumps({"do": do, "value": value} | ({"file": str(file)} if file else {}))
    return Claim(uuid7(), uuid7(), "isolated", content, 1)


async def test_a_child_is_reused(pool: ChildPool) -> None:
    """Started once: the tasks that follow find the same process, which is not the consumer's."""
    pids = [await pool.run(job("pid"), unlimited) for _ in range(5)]
    assert len({str(pid) for pid in pids}) == 1
    assert pids[0] != Done(JsonText(str(os.getpid())))


async def test_two_at_once_are_in_two_children(pool: ChildPool) -> None:
    """As many as are needed at once."""
    first, second = await asyncio.gather(pool.run(job("pid"), unlimited), pool.run(job("pid"), unlimited))
    assert first != second
    assert await pool.run(job("pid"), unlimited) in (first, second)


async def test_a_child_is_replaced_after_its_number_of_tasks(make_pool: Pool, events: EventLog) -> None:
    """CHILD_MAX_TASKS of 3: three tasks a process."""
    pool = make_pool(child_max_tasks=3)
    pids = [str(await pool.run(job("pid"), unlimited)) for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
    assert "3 tasks" in events.of(ChildReplaced)[0].reason


async def test_a_child_is_replaced_for_its_memory(make_pool: Pool, events: EventLog) -> None:
    """What holds more than CHILD_MEMORY_MB after a task does not run the next."""
    pool = make_pool(child_memory_mb=300)
    small = await pool.run(job("grow", 1), unlimited)
    assert await pool.run(job("grow", 300), unlimited) == small
    assert await pool.run(job("pid"), unlimited) != small
    assert "MB" in events.of(ChildReplaced)[0].reason


async def test_garbage_does_not_count_as_memory(make_pool: Pool) -> None:
    """What nothing refers to any more is let go before a child is replaced for it."""
    pool = make_pool(child_memory_mb=300)
    pids = [await pool.run(job("litter", 150), unlimited) for _ in range(5)]
    assert len({str(pid) for pid in pids}) == 1


@pytest.mark.parametrize("do", ["spin", "sleep_blocking", "wait"])
async def test_a_stopped_handler_hears_of_it(pool: ChildPool, events: EventLog, tmp_path: Path, do: str) -> None:
    """In a busy loop, in a blocking call and at an await alike: its `finally` runs, well within the grace."""
    file = tmp_path / "notes"
    run = asyncio.create_task(pool.run(job(do, file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    start = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - start < 0.8
    assert lines(file)[1:] == ["canceled: True"]
    await are_gone(pid)
    assert not events.of(ChildKilled)


@pytest.mark.parametrize("do", ["ignore_sigterm", "swallow"])
async def test_a_handler_that_does_not_stop_is_killed(
    pool: ChildPool, events: EventLog, tmp_path: Path, do: str
) -> None:
    """SIGKILL after the grace; and the next task finds a fresh child."""
    file = tmp_path / "notes"
    run = asyncio.create_task(pool.run(job(do, file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    start = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert 0.9 < time.monotonic() - start < 1.8
    await are_gone(pid)
    assert events.of(ChildKilled)
    assert await pool.run(job("pid"), unlimited) != Done(JsonText(str(pid)))


async def test_cancelled_twice_it_is_killed_at_once(make_pool: Pool, events: EventLog, tmp_path: Path) -> None:
    """The second cancellation does not wait for the grace, nor does it leave the process behind."""
    file = tmp_path / "notes"
    run = asyncio.create_task(make_pool(cancel_grace_seconds=30).run(job("ignore_sigterm", file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2):
            await run
    await are_gone(pid)
    assert events.of(ChildKilled)


async def test_what_a_stopped_handler_returns_counts(pool: ChildPool, tmp_path: Path) -> None:
    """As on the event loop: one that ends in order within its grace has an outcome."""
    file = tmp_path / "notes"
    run = asyncio.create_task(pool.run(job("wait_and_finish", file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    assert await run == Done(JsonText('"finished after all"'))
    await are_gone(pid)


async def test_what_a_handler_has_started_ends_with_it(pool: ChildPool, tmp_path: Path) -> None:
    """A handler that waits for a program of its own is stopped, and so is the program."""
    file = tmp_path / "notes"
    run = asyncio.create_task(pool.run(job("start_others", file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await are_gone(pid)


async def test_what_is_no_exception_is_a_failed_attempt(pool: ChildPool) -> None:
    """And costs no child."""
    assert await pool.run(job("raise_strange"), unlimited) == Retry(None, "_Strange: ")


@pytest.mark.parametrize(
    ("do", "how"),
    [("segfault", "SIGSEGV"), ("exit", "exit code 3"), ("kill", "SIGKILL")],
)
async def test_a_child_that_dies_is_a_failed_attempt(pool: ChildPool, do: str, how: str) -> None:
    """Of its own task; one that runs beside it in another child, and those that follow, do not notice."""
    beside = asyncio.create_task(pool.run(job("nap", 0.5), unlimited))
    assert await pool.run(job(do), unlimited) == Retry(None, f"The handler's process died: {how}")
    assert await beside == Done(JsonText('"rested"'))
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_a_child_that_breaks_the_channel_is_a_failed_attempt(pool: ChildPool) -> None:
    """It is ended, since nobody knows what it says next."""
    outcome = await pool.run(job("garble"), unlimited)
    assert isinstance(outcome, Retry)
    assert "process died" in outcome.reason
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_a_child_that_died_idle_is_passed_over(pool: ChildPool, events: EventLog) -> None:
    """Killed between two tasks: no task hears of it."""
    await pool.run(job("pid"), unlimited)
    (child,) = pool._children
    child.kill()
    await child.gone
    assert isinstance(await pool.run(job("pid"), unlimited), Done)
    assert len(events.of(ChildStarted)) == 2


async def test_outcomes_travel(pool: ChildPool) -> None:
    """Each kind of outcome, and what is none, as it would be on the event loop."""
    assert await pool.run(job("retry", 7), unlimited) == Retry(7.0, "not yet", ErrorCode.DEPENDENCY_UNAVAILABLE)
    assert await pool.run(job("retry", "soon"), unlimited) == Retry(None, "not yet", ErrorCode.DEPENDENCY_UNAVAILABLE)
    assert await pool.run(job("fail"), unlimited) == Fail("never \ud800")
    assert await pool.run(job("raise"), unlimited) == Retry(None, "ValueError: boom")
    snoozed = await pool.run(job("snooze"), unlimited)
    assert isinstance(snoozed, Snooze)
    assert timedelta(minutes=59) < snoozed.until - datetime.now(UTC) < timedelta(minutes=61)
    no_json = await pool.run(job("answer_no_json"), unlimited)
    assert isinstance(no_json, Fail)
    assert "The result is no JSON" in no_json.reason
    with pytest.raises(asyncio.CancelledError):
        await pool.run(job("cancel_itself"), unlimited)
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_large_payloads_and_results_travel(pool: ChildPool) -> None:
    """A megabyte each way; a result that is longer than may be is said so."""
    value = ['ä\u2028\U0001f600"\\' * 10] * 14_000
    outcome = await pool.run(job("echo", value), unlimited)
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, JsonText)
    assert len(outcome.result) > 1_000_000
    assert json.loads(outcome.result) == value
    too_long = await pool.run(job("echo", value * 2), unlimited)
    assert isinstance(too_long, Fail)
    assert "longer than" in too_long.reason


async def test_what_a_handler_prints_breaks_nothing(
    pool: ChildPool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes to the consumer's own output, line by line; and so do the lines of its log."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    assert await pool.run(job("print"), unlimited) == Done(JsonText('"printed"'))
    await pool.run(job("log"), unlimited)
    await pool.run(job("kill"), unlimited)
    output = capfd.readouterr().out
    assert "printed by a handler\nwritten by a handler\n" in output
    assert "last words\n" in output
    (line,) = [line for line in output.splitlines() if "logged by a handler" in line]
    assert json.loads(line)["level"] == "warning"
    assert UUID(json.loads(line)["task_id"])


async def test_where_no_child_can_be_started_the_task_is_put_off(
    make_pool: Pool, events: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No attempt is burnt by a host without memory, or by modules that no longer load; and it recovers."""
    monkeypatch.setattr("app.consumer.children._START_PAUSE_SECONDS", 0.01)
    pool = make_pool()
    with monkeypatch.context() as broken:
        broken.setenv("HANDLER_MODULES", "no.such.module")
        assert isinstance(await pool.run(job("pid"), unlimited), Snooze)
        assert "exit code 2" in events.of(ChildNotStarted)[0].error
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", "/no/such/python")
        assert isinstance(await pool.run(job("pid"), unlimited), Snooze)
        assert "FileNotFoundError" in events.of(ChildNotStarted)[-1].error
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_without_descriptors_the_task_is_put_off(
    pool: ChildPool, events: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process has as many as it may: it lives on, and starts children when there are some again."""
    monkeypatch.setattr("app.consumer.children._START_PAUSE_SECONDS", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        assert isinstance(await pool.run(job("pid"), unlimited), Snooze)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Too many open files" in events.of(ChildNotStarted)[0].error
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_cancelled_while_its_child_starts(pool: ChildPool, events: EventLog) -> None:
    """It ends at once; the child goes on starting, and serves the next."""
    run = asyncio.create_task(pool.run(job("pid"), unlimited))
    await asyncio.sleep(0.01)
    run.cancel()
    start = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - start < 0.1
    await pool.run(job("pid"), unlimited)
    assert len(events.of(ChildStarted)) == 1


async def test_close_ends_all_within_a_second(make_pool: Pool, tmp_path: Path) -> None:
    """Idle, busy beyond SIGTERM's reach, and still starting."""
    pool = make_pool()
    file = tmp_path / "notes"
    stubborn = asyncio.create_task(pool.run(job("ignore_sigterm", file=file), unlimited))
    await asyncio.gather(pool.run(job("pid"), unlimited), pid_in(file))
    pool.start_one()
    starting = asyncio.create_task(pool.run(job("nap", 60), unlimited))
    await asyncio.sleep(0.02)
    pids = [child.pid for child in pool._children]
    start = time.monotonic()
    await pool.close()
    assert time.monotonic() - start < 1
    assert len(pids) == 3
    await are_gone(*pids)
    for run in (stubborn, starting):
        run.cancel()
        await asyncio.wait([run])


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
