"""What arrives together is answered by one statement."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from starlette.types import Message, Scope

from app.api.backpressure import Backpressure
from app.api.services import Services
from app.api.task_api import TaskApi
from app.api.task_reader import TaskReader
from app.core.config import Settings
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup
from tests.integration.conftest import Insert
from tests.support.proxy import EXECUTE, Proxy
from tests.support.waiting import EventLog


@pytest.fixture
async def watched(database_proxy: Proxy) -> AsyncIterator[Database]:
    """A pool whose statements can be counted on the wire."""
    database = Database("postgresql+asyncpg://" + database_proxy.url.partition("://")[2], 2, 2)
    yield database
    await database.close()


async def _no_body() -> Message:
    raise AssertionError("these calls read no body")


def _asks_for(task_id: UUID) -> Scope:
    return {"type": "http", "path_params": {"task_id": str(task_id)}}


@pytest.mark.parametrize("call", ["get", "cancel"])
async def test_calls_for_many_tasks_share_a_statement(
    call: str,
    settings: Settings,
    watched: Database,
    database_proxy: Proxy,
    wakeup: Wakeup,
    events: EventLog,
    insert: Insert,
) -> None:
    """200 at once, one statement on the wire; each gets the answer about its own task."""
    follow_up = FollowUp(watched, wakeup, events)
    catalog = Catalog.load(settings)
    backpressure = Backpressure(0, catalog, watched)
    services = Services(settings, catalog, watched, TaskReader(watched), wakeup, follow_up, events, backpressure)
    ask = getattr(TaskApi(services), call)
    ids = await insert(201)
    await ask(_asks_for(ids[0]), _no_body)  # the statement is prepared
    database_proxy.requests.clear()
    answers = await asyncio.gather(*(ask(_asks_for(task_id), _no_body) for task_id in ids[1:]))
    assert sum(request.count(EXECUTE) for request in database_proxy.requests) == 1
    assert all(str(task_id).encode() in answer for task_id, answer in zip(ids[1:], answers, strict=True))
