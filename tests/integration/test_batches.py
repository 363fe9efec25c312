"""What arrives together is answered by one statement."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from starlette.types import Message, Scope

from app.api import batch_api, ndjson
from app.api.batch_api import BatchApi
from app.api.errors import ProblemError
from app.api.task_api import TaskApi
from app.core.config import Settings
from app.db.engine import Database
from app.queue.wakeup import Wakeup
from tests.integration.conftest import Insert
from tests.support.proxy import EXECUTE, Proxy
from tests.support.services import services_of
from tests.support.types import Connection
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
    return {"type": "http", "path_params": {"task_id": str(task_id)}, "headers": [], "query_string": b""}


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
    """60 at once, one statement on the wire; each gets the answer about its own task."""
    ask = getattr(TaskApi(services_of(settings, watched, wakeup, events)), call)
    ids = await insert(61)
    await ask(_asks_for(ids[0]), _no_body)  # the statement is prepared
    database_proxy.requests.clear()
    answers = await asyncio.gather(*(ask(_asks_for(task_id), _no_body) for task_id in ids[1:]))
    assert sum(request.count(EXECUTE) for request in database_proxy.requests) == 1
    assert all(
        str(task_id).encode() in (answer.body if call == "get" else answer)
        for task_id, answer in zip(ids[1:], answers, strict=True)
    )


_HEAD: Scope = {
    "type": "http",
    "path": "/task/batch",
    "headers": [(b"content-type", b"application/x-ndjson")],
}


class _Client:
    """Sends a line and no end."""

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads
        self._pieces = [b'{"content": 1}\n']
        self.answers: list[Any] = []

    async def receive(self) -> Message:
        """What it sends."""
        if not self._pieces:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": self._pieces.pop(), "more_body": True}

    async def send(self, message: Message) -> None:
        """What it gets, if it reads."""
        if message["type"] == "http.response.body" and not self._reads:
            await asyncio.Event().wait()
        self.answers += map(json.loads, message.get("body", b"").splitlines())


async def test_who_sends_nothing_is_refused(
    settings: Settings, database: Database, wakeup: Wakeup, events: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer has not begun, so it can still say so in its status."""
    monkeypatch.setattr(ndjson, "SILENCE_SECONDS", 0.1)
    api = BatchApi(services_of(settings, database, wakeup, events))

    async def nothing() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError("an answer has begun")

    with pytest.raises(ProblemError) as silent:
        await api.stream(_HEAD, nothing, send)
    assert (silent.value.status, silent.value.headers) == (408, {"Connection": "close"})
    monkeypatch.undo()
    stopped = asyncio.create_task(api.stream(_HEAD, nothing, send))
    await asyncio.sleep(0)
    for late in (False, True):  # the second one begins when the process stops already
        api.stop()
        with pytest.raises(ProblemError) as refused:
            await asyncio.wait_for(api.stream(_HEAD, nothing, send) if late else stopped, 5)
        assert refused.value.status == 503


@pytest.mark.parametrize("reads", [True, False])
async def test_nobody_holds_a_stream_for_ever(
    settings: Settings,
    database: Database,
    wakeup: Wakeup,
    events: EventLog,
    sql: Connection,
    monkeypatch: pytest.MonkeyPatch,
    *,
    reads: bool,
) -> None:
    """Who is silent gets to know it, and who reads no answers is let go; the task is kept."""
    monkeypatch.setattr(ndjson, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(batch_api, "SEND_SECONDS", 0.2)
    services = services_of(settings, database, wakeup, events)
    client = _Client(reads=reads)
    async with asyncio.timeout(5):
        await BatchApi(services).stream(_HEAD, client.receive, client.send)
    if reads:
        created, silent = client.answers
        assert (created["index"], silent["index"], silent["error"]["status"]) == (0, 1, 408)
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
