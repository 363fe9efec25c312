"""What becomes of a run, by how its handler ends."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from app.consumer.executor import Executor, StopReason
from app.consumer.recorder import Recorder
from app.core.events import ClaimLost, HandlerRaised, HandlerStopped, TaskFailed, TasksCompleted, TasksReleased
from app.db.engine import Database
from app.handler_api.context import Options
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done, Fail
from app.handler_api.payload import Payload
from app.queue.cancel import Canceler
from app.queue.claim import claim_ids
from app.queue.wakeup import Wakeup
from tests.integration.conftest import Insert, claimant
from tests.support.types import Connection
from tests.support.waiting import EventLog


class Count(Payload, kind="simulate"):
    """The payload of these tests."""

    count: int


Run = Callable[..., Awaitable[Any]]
Execute = Callable[..., AbstractAsyncContextManager[Executor]]


@pytest.fixture
async def execute(database: Database, wakeup: Wakeup, events: EventLog, insert: Insert, consumer_id: UUID) -> Execute:
    """Run a handler for one claimed task on an executor."""

    @asynccontextmanager
    async def running(handler: Run, content: str = '{"count": 1}') -> AsyncIterator[Executor]:
        def crash(error: BaseException) -> None:
            raise AssertionError(error)

        handlers = {"simulate": (Handler(Count, Options, handler), Options())}
        executor = Executor(5, handlers, Recorder(database, wakeup, events), events, crash)
        (claim,) = await claim_ids(database, claimant(consumer_id), await insert(1, content))
        executor.start(claim)
        assert executor.free == 4
        yield executor
        async with asyncio.timeout(5):
            await executor.wait_until_idle()
        assert executor.free == 5
        assert executor.runs == {}

    return running


async def _ends(_: Count, __: object) -> Done:
    return Done()


async def _gives_up(_: Count, __: object) -> Fail:
    return Fail("the file is not there", "no_file")


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


async def _forgets(_: Count, __: object) -> None:
    pass


async def _answers_true(_: Count, __: object) -> bool:
    return True


async def _exits(_: Count, __: object) -> Done:
    sys.exit(3)


async def _raises_unspeakably(_: Count, __: object) -> Done:
    raise UnspeakableError


async def _fails_strangely(_: Count, __: object) -> Fail:
    return Fail(ValueError("an object"), "a\0b")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("handler", "content", "code", "message"),
    [
        (_forgets, '{"count": 1}', "bad_outcome", "returned NoneType"),
        (_answers_true, '{"count": 1}', "bad_outcome", "returned bool"),
        (_exits, '{"count": 1}', "handler_error", "SystemExit: 3"),
        (_raises_unspeakably, '{"count": 1}', "handler_error", "UnspeakableError: (it can't be put into words)"),
        (_fails_strangely, '{"count": 1}', "a\ufffdb", "an object"),
        (_gives_up, '{"count": 1}', "no_file", "the file is not there"),
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
    """Fail, an exception, and a payload that no longer validates are each `failed`, with why."""
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
    assert tuple((await sql.fetch("SELECT status, attempt FROM tasks"))[0]) == ("pending", 0)


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
