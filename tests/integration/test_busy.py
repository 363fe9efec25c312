"""All connections in use: that is told apart from a PostgreSQL that does not answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from starlette.types import Message, Scope

from app.api.batch_api import BatchApi
from app.api.health_api import health_router
from app.core.config import Settings
from app.core.errors import DatabaseBusyError, DatabaseUnavailableError
from app.db.engine import Database
from app.queue.persist import persist
from app.queue.wakeup import Wakeup
from tests.support.proxy import EXECUTE, Proxy
from tests.support.services import services_of
from tests.support.types import Connection
from tests.support.waiting import EventLog


@pytest.fixture
async def narrow(database_proxy: Proxy) -> AsyncIterator[Database]:
    """A pool of one connection."""
    database = Database("postgresql+asyncpg://" + database_proxy.url.partition("://")[2], 1, 2)
    await database.connect()
    yield database
    await database.close()


def _others(database: Database) -> list[asyncio.Task[object]]:
    """Two statements that keep the connection in use, one after the other, for longer than anybody waits for it."""
    return [asyncio.create_task(database.fetch("SELECT pg_sleep(1.2)")) for _ in range(2)]


async def test_others_are_answered(narrow: Database) -> None:
    """Who waits in vain while another's statement is answered was not sent."""
    others = _others(narrow)
    await asyncio.sleep(0)
    for refused in await asyncio.gather(*(narrow.fetch("SELECT 1") for _ in range(3)), return_exceptions=True):
        assert isinstance(refused, DatabaseBusyError)
    await asyncio.gather(*others)
    assert await narrow.fetch("SELECT 1")


async def test_a_busy_api_stays_in_service(narrow: Database, wakeup: Wakeup) -> None:
    """Out of service it would leave its requests to others, who have no more connections."""
    app = FastAPI()
    app.include_router(health_router(narrow, wakeup))
    others = _others(narrow)
    await asyncio.sleep(0)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://taskmill") as client:
        ready = await client.get("/readyz")
    await asyncio.gather(*others)
    assert (ready.status_code, ready.json()["status"]) == (200, "warn")
    assert ready.json()["checks"]["redis"] == [{"status": "pass"}]


async def test_nobody_is_answered(narrow: Database, database_proxy: Proxy) -> None:
    """A server that has gone silent is not busy, for who was sent and for who was not."""
    database_proxy.freeze()
    results = await asyncio.gather(*(narrow.fetch("SELECT 1") for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailableError] * 3


async def test_the_first_doubt_counts(narrow: Database, database_proxy: Proxy, sql: Connection) -> None:
    """A COMMIT whose answer was lost is not denied by a second try that was not sent."""
    await sql.execute("CREATE TABLE written (id int)")
    others: list[asyncio.Task[object]] = []
    tried: list[Exception] = []

    async def write() -> None:
        if tried:
            others.extend(_others(narrow))
            await asyncio.sleep(0)
        try:
            await narrow.fetch("INSERT INTO written VALUES (1)")
        except DatabaseUnavailableError as error:
            tried.append(error)
            raise

    database_proxy.cut_reply_to(lambda data: EXECUTE in data)
    with pytest.raises(DatabaseUnavailableError) as raised:
        await persist(write)
    await asyncio.gather(*others)
    assert [type(error) for error in tried] == [DatabaseUnavailableError, DatabaseBusyError]
    assert raised.value is tried[0]
    assert await sql.fetchval("SELECT count(*) FROM written") == 1


class _Sender:
    """Sends a line, and no more until it is answered."""

    def __init__(self) -> None:
        self._lines = [b'{"content": 2}\n', b'{"content": 1}\n']
        self._may_send = asyncio.Event()
        self._may_send.set()
        self.answers: list[Any] = []

    async def receive(self) -> Message:
        """Its lines, and the end."""
        await self._may_send.wait()
        self._may_send.clear()
        body = self._lines.pop() if self._lines else b""
        return {"type": "http.request", "body": body, "more_body": bool(self._lines)}

    async def send(self, message: Message) -> None:
        """What it gets."""
        answers = [json.loads(line) for line in message.get("body", b"").splitlines()]
        self.answers += answers
        if answers:
            self._may_send.set()


async def test_a_stream_waits_while_others_are_answered(
    settings: Settings, narrow: Database, wakeup: Wakeup, events: EventLog, sql: Connection
) -> None:
    """Longer than a request waits for a connection; then its lines are created, each once."""
    client, head = _Sender(), [(b"content-type", b"application/x-ndjson")]
    scope: Scope = {"type": "http", "path": "/task/batch", "headers": head}
    api = BatchApi(services_of(settings, narrow, wakeup, events))
    others = _others(narrow)
    await asyncio.sleep(0)
    stream = asyncio.create_task(api.stream(scope, client.receive, client.send))
    with pytest.raises(DatabaseBusyError):
        await narrow.fetch("SELECT 1")
    assert client.answers == []
    await asyncio.gather(*others)
    await stream
    assert [answer["task"]["content"] for answer in client.answers] == [1, 2]
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 2
