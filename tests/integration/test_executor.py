"""What becomes of a run, by how its handler ends."""

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import field_validator

from app.consumer.children import ChildPool
from app.consumer.executor import Executor
from app.consumer.lane import Lane
from app.consumer.recorder import Recorder
from app.consumer.run import StopReason
from app.consumer.tools import Toolbox
from app.consumer.verdict import Completed
from app.core.config import Settings
from app.core.events import (
    AttemptFailed,
    ClaimLost,
    HandlerRaised,
    HandlerStopped,
    HandlerStuck,
    TaskFailed,
    TasksCompleted,
    TasksReleased,
    TasksSnoozed,
)
from app.db.engine import Database
from app.handler_api.context import LostClaim, Options, TaskContext
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done, ErrorCode, Fail, Retry, Snooze
from app.handler_api.payload import Payload
from app.handlers import Catalog
from app.queue.cancel import Canceler
from app.queue.claim import claim_due
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup
from tests.integration.conftest import WANTED, Insert, claimant
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


class Count(Payload, kind="simulate"):
    """The payload of these tests."""

    count: int


Run = Callable[..., Awaitable[Any]]
Execute = Callable[..., AbstractAsyncContextManager[Executor]]


@pytest.fixture
async def execute(
    settings: Settings,
    database: Database,
    wakeup: Wakeup,
    events: EventLog,
    insert: Insert,
    consumer_id: UUID,
    sql: Connection,
) -> Execute:
    """Run a handler for one claimed task on an executor; it is the last of the attempts that a kind has by default."""

    @asynccontextmanager
    async def running(
        handler: Run,
        content: str = '{"count": 1}',
        *,
        attempt: int = 5,
        payload: type[Count] = Count,
        **handler_options: Any,
    ) -> AsyncIterator[Executor]:
        def crash(error: BaseException) -> None:
            raise AssertionError(error)

        catalog = Catalog({"simulate": Handler(payload, handler, **handler_options)}, {"simulate": Options()})
        lane = Lane(["simulate"], 5)
        toolbox = Toolbox(settings, catalog, database, wakeup, events)
        recorder = Recorder(database, FollowUp(database, wakeup, events), events)
        children = ChildPool(settings, events)
        executor = Executor([lane], catalog, toolbox, children, recorder, events, grace_seconds=0.1, on_crash=crash)
        await insert(1, content)
        await sql.execute("UPDATE tasks SET attempt = $1", attempt - 1)
        (claim,) = await claim_due(database, claimant(consumer_id), 1, WANTED)
        executor.start(claim)
        assert lane.free == 4
        yield executor
        async with asyncio.timeout(5):
            await executor.wait_until_idle()
        assert lane.free == 5
        assert executor.runs == {}
        await toolbox.close()

    return running


async def _ends(_: Count, __: object) -> Done:
    return Done()


async def _gives_up(_: Count, __: object) -> Fail:
    return Fail("the file is not there", ErrorCode.DEPENDENCY_UNAVAILABLE)


async def _raises(_: Count, __: object) -> Done:
    raise ValueError("boom")


async def _hangs(_: Count, __: object) -> Done:
    await asyncio.Event().wait()
    return Done()


async def _cancels_itself(_: Count, __: object) -> Done:
    raise asyncio.CancelledError


async def test_done(execute: Execute, events: EventLog, sql: Connection) -> None:
    """Done is completed."""
    async with execute(_ends):
        await events.seen(TasksCompleted)
    assert await sql.fetchval("SELECT status FROM tasks") == "completed"


class UnspeakableError(Exception):
    """Its text can't be had."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError


async def _exits(_: Count, __: object) -> Done:
    sys.exit(3)


async def _raises_unspeakably(_: Count, __: object) -> Done:
    raise UnspeakableError


async def _fails_strangely(_: Count, __: object) -> Fail:
    return Fail(ValueError("an object"), "a\0b")  # type: ignore[arg-type]


async def _answers_with_no_json(_: Count, __: object) -> object:
    return object()


async def _answers_too_much(_: Count, __: object) -> str:
    return "x" * 1_048_576


async def _snoozes_without_a_zone(_: Count, __: object) -> Snooze:
    return Snooze(datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    ("handler", "content", "code", "message"),
    [
        (_answers_with_no_json, '{"count": 1}', "handler_error", "The result is no JSON"),
        (_answers_too_much, '{"count": 1}', "handler_error", "longer than 1,048,576 characters"),
        (_snoozes_without_a_zone, '{"count": 1}', "handler_error", "a datetime with a time zone"),
        (_exits, '{"count": 1}', "handler_error", "SystemExit: 3"),
        (_raises_unspeakably, '{"count": 1}', "handler_error", "UnspeakableError: (it can't be put into words)"),
        (_fails_strangely, '{"count": 1}', "handler_error", "an object (a\ufffdb is no code)"),
        (_gives_up, '{"count": 1}', "dependency_unavailable", "the file is not there"),
        (_raises, '{"count": 1}', "handler_error", "ValueError: boom"),
        (_cancels_itself, '{"count": 1}', "handler_error", "cancelled by something of its own"),
        (_ends, '{"count": "1"}', "invalid_payload", "/count: Input should be a valid integer"),
        (_ends, '"text"', "invalid_payload", "(content): Input should be an object"),
    ],
)
async def test_failures(
    execute: Execute,
    events: EventLog,
    sql: Connection,
    *,
    handler: Run,
    content: str,
    code: str,
    message: str,
) -> None:
    """Fail, an exception in the last attempt, and a payload that no longer validates are each `failed`, with why."""
    async with execute(handler, content):
        await events.seen(TaskFailed)
    status, error = (await sql.fetch("SELECT status, error::text FROM tasks"))[0]
    assert status == "failed"
    assert json.loads(error)["code"] == code
    assert message in json.loads(error)["message"]
    assert len(events.of(HandlerRaised)) == (handler in {_raises, _raises_unspeakably, _exits})


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


Row = dict[str, Any]


async def _is(fact: bool) -> bool:  # noqa: FBT001 - the fact
    return fact


async def _row(sql: Connection) -> Row:
    """The task, its JSON parsed, and how long from now it is due."""
    (record,) = await sql.fetch("SELECT *, extract(epoch FROM run_at - clock_timestamp())::float8 AS due FROM tasks")
    row = dict(record)
    for name in ("progress", "result", "error", "history", "cursor"):
        row[name] = None if row[name] is None else json.loads(row[name])
    return row


@pytest.mark.parametrize("answer", [None, True, 7, "text", {"rows": [1, 2]}, datetime(2030, 1, 1, tzinfo=UTC)])
async def test_a_plain_return_value_is_the_result(execute: Execute, sql: Connection, answer: object) -> None:
    """As JSON; None is done as well, with nothing to say."""

    async def answers(_: Count, __: object) -> object:
        return answer

    async with execute(answers):
        pass
    row = await _row(sql)
    assert row["status"] == "completed"
    assert row["result"] == ("2030-01-01T00:00:00Z" if isinstance(answer, datetime) else answer)
    assert row["started_at"] < row["finished_at"]


@pytest.mark.parametrize(("attempt", "highest"), [(1, 2), (2, 4), (4, 10)])
async def test_an_exception_is_tried_again_after_a_while(
    execute: Execute, events: EventLog, sql: Connection, attempt: int, highest: int
) -> None:
    """At random within a span that doubles, up to the cap; the error is in the history."""
    async with execute(_raises, attempt=attempt, retry_cap_seconds=10):
        failed = await events.seen(AttemptFailed)
    row = await _row(sql)
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
    row = await _row(sql)
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
    row = await _row(sql)
    assert row["status"] == "pending"
    assert -5 <= row["due"] <= 3_650 * 86_400


async def test_attempts_that_were_lost_do_not_count(execute: Execute, sql: Connection) -> None:
    """Two of five runs ended with their consumers; MAX_LOST counts those."""
    async with execute(_raises, attempt=5) as executor:
        (run,) = executor.runs.values()
        run.claim = replace(run.claim, lost_count=2)
    assert (await _row(sql))["status"] == "pending"


async def test_the_history_is_bounded(execute: Execute, sql: Connection) -> None:
    """Of a thousand attempts the last twenty are told."""
    errors = json.dumps([{"code": "handler_error", "message": "old", "attempt": n, "at": "x"} for n in range(1, 21)])
    async with execute(_raises, attempt=21, max_attempts=1_000):
        await sql.execute("UPDATE tasks SET history = $1::text::jsonb", errors)
    assert [error["attempt"] for error in (await _row(sql))["history"]] == list(range(2, 22))


async def test_a_snoozed_task_waits_and_burns_no_attempt(execute: Execute, events: EventLog, sql: Connection) -> None:
    """It is no failure: nothing is in the history."""
    until = datetime.now(UTC) + timedelta(hours=1)

    async def snoozes(_: Count, __: object) -> Snooze:
        return Snooze(until)

    async with execute(snoozes, attempt=1):
        await events.seen(TasksSnoozed)
    row = await _row(sql)
    assert (row["status"], row["attempt"], row["history"], row["run_at"]) == ("pending", 0, None, until)


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
    row = await _row(sql)
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
    row = await _row(sql)
    assert (row["status"], row["error"]["code"]) == ("failed", "timeout")


async def test_what_comes_after_the_time_is_over_does_not_count(execute: Execute, sql: Connection) -> None:
    """It catches its cancellation, and returns something nevertheless: it took too long all the same."""

    async def returns_late(_: Count, __: object) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "late"

    async with execute(returns_late, timeout_seconds=0.05):
        pass
    row = await _row(sql)
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
    row = await _row(sql)
    assert (row["status"], row["history"][0]["code"]) == ("pending", "timeout")
    let_go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await _row(sql))["status"] == "pending"
    assert not events.of(TasksCompleted)


async def test_progress_is_seen_while_the_handler_runs(execute: Execute, sql: Connection) -> None:
    """The latest word, within half a second."""
    go_on = asyncio.Event()

    async def works(_: Count, task: TaskContext[Options]) -> None:
        for done in range(1, 101):
            task.progress(done, 200, "halfway")
        await go_on.wait()

    async with execute(works):
        start = time.monotonic()
        await until(lambda: sql.fetchval("SELECT count(*) FROM tasks WHERE progress IS NOT NULL"))
        assert time.monotonic() - start < 2
        assert (await _row(sql))["progress"] == {"done": 100, "total": 200, "message": "halfway"}
        go_on.set()


async def test_the_last_word_of_progress_is_not_lost(execute: Execute, sql: Connection) -> None:
    """Said right before the end, it is written before the outcome."""

    async def works(_: Count, task: TaskContext[Options]) -> None:
        task.progress(3, 3)

    async with execute(works):
        pass
    row = await _row(sql)
    assert (row["status"], row["progress"]) == ("completed", {"done": 3, "total": 3, "message": None})


async def test_the_log_of_a_handler_carries_its_task(
    execute: Execute, sql: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Besides the line's own fields."""

    async def says(_: Count, task: TaskContext[Options]) -> None:
        task.log.warning("half of it", extra={"rows": 3})

    logger = logging.getLogger("taskmill.handler.simulate")
    logger.addHandler(caplog.handler)
    try:
        async with execute(says):
            pass
    finally:
        logger.removeHandler(caplog.handler)
    record = next(record for record in caplog.records if record.message == "half of it")
    assert vars(record)["task_id"] == str((await _row(sql))["id"])
    assert vars(record)["attempt"] == 5
    assert vars(record)["rows"] == 3


@pytest.mark.parametrize("strange", [float("nan"), {"a": [float("inf")]}, "\ud800", b"\xff"])
async def test_a_result_that_is_no_json_fails_its_own_task(execute: Execute, sql: Connection, strange: object) -> None:
    """Said, and recorded; a result that only names them is as good as any."""

    async def answers(_: Count, __: object) -> object:
        return strange

    async with execute(answers):
        pass
    error = (await _row(sql))["error"]
    assert error["code"] == "handler_error"
    assert error["message"].startswith("The result is no JSON: ")


async def test_words_that_look_like_no_json_are_text(execute: Execute, sql: Connection) -> None:
    """NaN in a string is three letters."""

    async def answers(_: Count, __: object) -> object:
        return ["NaN", {"Infinity": "-Infinity"}]

    async with execute(answers):
        pass
    assert (await _row(sql))["result"] == ["NaN", {"Infinity": "-Infinity"}]


@pytest.mark.parametrize("strange", [float("nan"), "\ud800", object()])
async def test_progress_that_is_no_json_is_the_handlers_error(execute: Execute, sql: Connection, strange: Any) -> None:
    """Raised where it is said: the writing for all others goes on."""

    async def says(_: Count, task: TaskContext[Options]) -> None:
        task.progress(1, message=strange)

    async with execute(says):
        pass
    assert (await _row(sql))["error"]["code"] == "handler_error"


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


class StrangeError(BaseException):
    """No Exception."""


class Picky(Count, kind="simulate"):
    """Its validator has a mistake."""

    @field_validator("count")
    @classmethod
    def _look_up(cls, count: int) -> int:
        return {7: 1}[count]


async def _raises_strangely(_: Count, __: object) -> None:
    raise StrangeError


async def _raises_a_group(_: Count, __: object) -> None:
    raise BaseExceptionGroup("several", [KeyboardInterrupt()])


async def _raises_lost_claim(_: Count, __: object) -> None:
    raise LostClaim


async def _leaves_an_unreadable_cursor(_: Count, task: TaskContext[Options]) -> None:
    cursor: Any = 1
    for _ in range(210):  # type: ignore[assignment]
        cursor = [cursor]
    async with task.checkpoint(cursor=cursor):
        pass


@pytest.mark.parametrize(
    ("handler", "payload", "words"),
    [
        (_ends, Picky, "KeyError"),
        (_raises_strangely, Count, "StrangeError"),
        (_raises_a_group, Count, "BaseExceptionGroup"),
        (_raises_lost_claim, Count, "no longer holds its task"),
        (_leaves_an_unreadable_cursor, Count, "recursion limit"),
    ],
)
async def test_no_handler_ends_its_consumer(
    execute: Execute, sql: Connection, handler: Run, payload: type[Count], words: str
) -> None:
    """Whatever it raises is a failed attempt of its own task, and counts."""
    async with execute(handler, payload=payload):
        pass
    row = await _row(sql)
    assert (row["status"], row["error"]["code"]) == ("failed", "handler_error")
    assert words in row["error"]["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"timeout_seconds": float("inf")},
        {"timeout_seconds": -1},
        {"retry_base_seconds": float("nan")},
        {"isolation": "thread"},
        {"queue": "a,b"},
    ],
)
def test_a_handler_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """When its module is loaded, and not when a task runs."""
    with pytest.raises(ValueError, match=f"simulate: .*{next(iter(wrong))}"):
        Handler(Count, _ends, **wrong)


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
