"""An executor that runs a handler of the test's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from app.consumer.children import ChildPool
from app.consumer.executor import Executor
from app.consumer.forks import Forks
from app.consumer.lane import Lane
from app.consumer.recorder import Recorder
from app.consumer.tools import Toolbox
from app.core.config import Settings
from app.db.engine import Database
from app.handler_api.context import Options
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done
from app.handler_api.payload import Payload
from app.handlers import Catalog
from app.queue.claim import claim_due
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup
from tests.integration.conftest import WANTED, Insert, claimant
from tests.support.types import Connection
from tests.support.waiting import EventLog


class Count(Payload, kind="simulate"):
    """The payload of these tests."""

    count: int


Run = Callable[..., Awaitable[Any]]
Execute = Callable[..., AbstractAsyncContextManager[Executor]]

Row = dict[str, Any]


@pytest.fixture
async def execute(
    settings: Settings,
    database: Database,
    wakeup: Wakeup,
    forks: Forks,
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
        children = ChildPool(settings, forks, events)
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


async def raises(_: Count, __: object) -> Done:
    """A handler with an error."""
    raise ValueError("boom")


async def task_row(sql: Connection) -> Row:
    """The task, its JSON parsed, and how long from now it is due."""
    (record,) = await sql.fetch("SELECT *, extract(epoch FROM run_at - clock_timestamp())::float8 AS due FROM tasks")
    row = dict(record)
    for name in ("progress", "result", "error", "history", "cursor"):
        row[name] = None if row[name] is None else json.loads(row[name])
    return row
