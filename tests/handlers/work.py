"""Kinds that do what people's jobs do: fail and recover, take their time, count, and write rows."""

import asyncio
from typing import Any

from app.handler_api.context import Options, Progress, TaskContext
from app.handler_api.handler import Handler
from app.handler_api.outcome import Fail, Outcome, Retry
from app.handler_api.payload import Payload


class Flaky(Payload, kind="flaky"):
    """Fails so many times."""

    failures: int
    after: float | None = 0


async def _fail_at_first(payload: Flaky, task: TaskContext[Options]) -> Any:
    if task.attempt <= payload.failures:
        if payload.after is None:
            raise ValueError(f"failure {task.attempt}")
        return Retry(payload.after, f"failure {task.attempt}")
    return {"attempts": task.attempt}


class Hopeless(Payload, kind="hopeless"):
    """Takes nothing."""


async def _give_up(_: Hopeless, __: TaskContext[Options]) -> Fail:
    return Fail("it can't be done")


class Sleep(Payload, kind="sleep"):
    """How long."""

    seconds: float


async def _sleep(payload: Sleep, _: TaskContext[Options]) -> None:
    await asyncio.sleep(payload.seconds)


class SlowSleep(Payload, kind="slow_sleep"):
    """How long, in a queue of its own."""

    seconds: float


async def _sleep_slowly(payload: SlowSleep, _: TaskContext[Options]) -> None:
    await asyncio.sleep(payload.seconds)


class Number(Payload, kind="number_rows"):
    """How many rows, and in steps of how many."""

    rows: int
    step: int
    pause: float = 0


async def number_rows(payload: Number, task: TaskContext[Options]) -> Outcome | dict[str, int]:
    """Insert the numbers from 1 into the table `numbers`, and note each checkpoint in `steps`."""
    first = task.cursor or 0
    for done in range(first, payload.rows, payload.step):
        until = min(done + payload.step, payload.rows)
        async with task.checkpoint(progress=Progress(until, payload.rows), cursor=until) as db:
            await db.executemany("INSERT INTO numbers VALUES ($1)", [(n,) for n in range(done + 1, until + 1)])
        await asyncio.sleep(payload.pause)
    return {"rows": payload.rows}


class NumberInChild(Number, kind="number_rows_in_child"):
    """The same, in a process of its own."""


HANDLERS = (
    Handler(Flaky, _fail_at_first, max_attempts=3, retry_base_seconds=0.2),
    Handler(Hopeless, _give_up),
    Handler(Sleep, _sleep),
    Handler(SlowSleep, _sleep_slowly, queue="slow"),
    Handler(Number, number_rows),
    Handler(NumberInChild, number_rows, isolation="process"),
)
