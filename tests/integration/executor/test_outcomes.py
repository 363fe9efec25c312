"""What becomes of a task, by how its handler ends."""

import asyncio
import json
import sys
from datetime import datetime
from typing import Any

import pytest
from pydantic import field_validator

from app.core.events import HandlerRaised, TaskFailed, TasksCompleted
from app.handler_api.context import LostClaim, Options, TaskContext
from app.handler_api.outcome import Done, ErrorCode, Fail, Snooze
from tests.integration.executor.conftest import Count, Execute, Run, raises, task_row
from tests.support.types import Connection
from tests.support.waiting import EventLog


async def _ends(_: Count, __: object) -> Done:
    return Done()


async def _gives_up(_: Count, __: object) -> Fail:
    return Fail("the file is not there", ErrorCode.DEPENDENCY_UNAVAILABLE)


async def _cancels_itself(_: Count, __: object) -> Done:
    raise asyncio.CancelledError


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


async def test_done(execute: Execute, events: EventLog, sql: Connection) -> None:
    """Done is completed."""
    async with execute(_ends):
        await events.seen(TasksCompleted)
    assert await sql.fetchval("SELECT status FROM tasks") == "completed"


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
        (raises, '{"count": 1}', "handler_error", "ValueError: boom"),
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
    assert len(events.of(HandlerRaised)) == (handler in {raises, _raises_unspeakably, _exits})


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
    row = await task_row(sql)
    assert (row["status"], row["error"]["code"]) == ("failed", "handler_error")
    assert words in row["error"]["message"]
