"""What a handler says while it runs: its progress, and its lines in the log."""

import asyncio
import logging
import time
from typing import Any

import pytest

from app.handler_api.context import Options, TaskContext
from tests.integration.executor.conftest import Count, Execute, task_row
from tests.support.types import Connection
from tests.support.waiting import until


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
        assert (await task_row(sql))["progress"] == {"done": 100, "total": 200, "message": "halfway"}
        go_on.set()


async def test_the_last_word_of_progress_is_not_lost(execute: Execute, sql: Connection) -> None:
    """Said right before the end, it is written before the outcome."""

    async def works(_: Count, task: TaskContext[Options]) -> None:
        task.progress(3, 3)

    async with execute(works):
        pass
    row = await task_row(sql)
    assert (row["status"], row["progress"]) == ("completed", {"done": 3, "total": 3, "message": None})


@pytest.mark.parametrize("strange", [float("nan"), "\ud800", object()])
async def test_progress_that_is_no_json_is_the_handlers_error(execute: Execute, sql: Connection, strange: Any) -> None:
    """Raised where it is said: the writing for all others goes on."""

    async def says(_: Count, task: TaskContext[Options]) -> None:
        task.progress(1, message=strange)

    async with execute(says):
        pass
    assert (await task_row(sql))["error"]["code"] == "handler_error"


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
    assert vars(record)["task_id"] == str((await task_row(sql))["id"])
    assert vars(record)["attempt"] == 5
    assert vars(record)["rows"] == 3
