"""Taskmill as processes under test."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Self, TypeVar

import asyncpg
from redis.asyncio import Redis

from app.db.migrate import migrate
from bench.api import Api
from bench.databases import new_database, redis_database
from bench.usage import cpu_seconds, only_postgres, tree
from tests.support.processes import Process
from tests.support.servers import Servers
from tests.support.types import Connection
from tests.support.waiting import until
from tests.support.wire import JSON, Answer, Wire, connect, request

_BODY = '{"content": {"to": "someone@example.org", "subject": "hello", "n": 12345, "pad": "xxxxxxxxxxxxxxxx"}}'
PROCESSING = "EXISTS (SELECT FROM tasks WHERE status = 'processing')"
# Index tasks_due: whatever else there is costs this question nothing.
_DUE = """EXISTS (SELECT FROM tasks WHERE status = 'pending' AND NOT is_blocked AND priority = 1 AND run_at <= now()
    AND kind = ANY('{simulate,stamped,held}'))"""
# Not those that come and go, as autovacuum's.
_BACKENDS = """SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""


class Subject(Api):
    """Taskmill: one API process, consumers as told, a database and a Redis database of its own, and ways to look in."""

    name = "Taskmill"
    noop = _BODY
    live = f"SELECT {_DUE} OR {PROCESSING}"
    started = "started_at"

    def __init__(self, database_url: str, redis_url: str, **settings: object) -> None:
        defaults: dict[str, object] = {"log_level": "warning", "simulate_seconds": 0}
        super().__init__(database_url, redis_url, **(defaults | settings))
        self.redis_url = redis_url
        self.sql: Connection
        self._connections = AsyncExitStack()
        self._wires: list[Wire] = []
        self.api: Process
        self.consumers: list[Process] = []

    @staticmethod
    async def prepare(database_url: str) -> None:
        """Make the schema."""
        await asyncio.to_thread(migrate, "postgresql+asyncpg://" + database_url.partition("://")[2])

    @staticmethod
    def sleeper(seconds: float) -> str:
        """The body of a task that runs for so long."""
        return f'{{"content": {{"simulate_seconds": {seconds}}}}}'

    async def ask(self, method: str, path: str, body: str | None = None) -> Answer:
        """Send a request on a connection that is kept, and made anew when the server has closed it."""
        headers = (JSON,) if body else ()
        data = request(method, path, *headers, body=body.encode() if body else None)
        if self._wires:
            with suppress(EOFError, OSError):
                return await self._wires[-1].ask(data)
        self._wires.append(await self._connections.enter_async_context(connect(self.url)))
        return await self._wires[-1].ask(data)

    async def make(self, body: str) -> str:
        """Create a task; its id."""
        answer = await self.ask("POST", "/task", body)
        if answer.status != 201:
            raise RuntimeError(f"{self.name} answers {answer.status} to a create: {answer.body[:200]!r}")
        return str(answer.json()["id"])

    async def start_consumers(self, number: int = 1, **settings: object) -> None:
        """Start so many more, and wait until they serve."""
        started = [self.launch_consumer(**settings) for _ in range(number)]
        self.consumers += started
        await self._serve(started)

    async def stop_consumers(self) -> None:
        """Stop all in order."""
        for consumer in self.consumers:
            consumer.signal(signal.SIGCONT)
            consumer.signal(signal.SIGTERM)
        for consumer in self.consumers:
            await consumer.exit_code()
        self.consumers.clear()

    def pause(self, *, is_paused: bool) -> None:
        """Hold consumers as they are, or let them go on. For seconds only: their lease runs."""
        for pid in tree(consumer.pid for consumer in self.consumers):
            _signal(pid, signal.SIGSTOP if is_paused else signal.SIGCONT)

    async def has_ended(self, seconds: float = 120) -> None:
        """Wait until no task is due or processing."""

        async def fact() -> bool:
            if any(consumer.exit is not None for consumer in self.consumers):
                raise RuntimeError(f"a consumer of {self.name} has ended: {self.consumers[0].output()[-500:]}")
            return not await self.sql.fetchval(self.live)

        await until(fact, seconds, 0.02)

    async def empty(self) -> None:
        """Leave no task and no hint."""
        await self.sql.execute("TRUNCATE tasks")
        async with Redis.from_url(self.redis_url) as redis:
            await redis.flushdb()

    async def backends(self) -> list[int]:
        """Process ids of what PostgreSQL runs for it, where they are of this machine."""
        return only_postgres(row[0] for row in await self.sql.fetch(_BACKENDS))

    def consumer_cpu(self) -> float:
        """Seconds of CPU of its consumers and what they started."""
        return cpu_seconds(consumer.pid for consumer in self.consumers)

    async def open(self) -> Self:
        """Start the API and connect. Raises RuntimeError where it does not come up."""
        await self.prepare(self.env["DATABASE_URL"])
        self.sql = await asyncpg.connect(self.env["DATABASE_URL"])
        await self._open_api()
        return self

    async def restart(self) -> None:
        """A new API process, and as many new consumers, which start at the same time."""
        number = len(self.consumers)
        self._wires.clear()
        await self._connections.aclose()
        self.api.signal(signal.SIGTERM)
        await self.stop_consumers()
        await self.api.exit_code()
        started = [self.launch_consumer() for _ in range(number)]
        await self._open_api()
        await self._serve(started)
        self.consumers += started

    async def close(self) -> None:
        """Stop what it has started."""
        await self._connections.aclose()
        if hasattr(self, "sql"):
            await self.sql.close()
        await super().close()

    async def _open_api(self) -> None:
        self.api = self.launch_api()
        try:
            await self.ask("GET", "/")  # whatever it answers
        except (OSError, EOFError):
            raise RuntimeError(f"the API of {self.name} does not start: {self.api.output()[-500:]}") from None

    async def _serve(self, consumers: list[Process]) -> None:
        pids = [consumer.pid for consumer in consumers]

        async def fact() -> bool:
            return bool(
                await self.sql.fetchval("SELECT count(*) FROM consumers WHERE pid = ANY($1::int[])", pids) == len(pids)
            )

        await until(fact, 30)


SubjectT = TypeVar("SubjectT", bound=Subject)


@asynccontextmanager
async def running(
    kind: type[SubjectT], servers: Servers, redis_number: int = 1, **settings: object
) -> AsyncIterator[SubjectT]:
    """One of these, in databases of its own, the one in PostgreSQL dropped at the end."""
    async with (
        new_database(servers.database_url) as url,
        kind(url, redis_database(servers.redis_url, redis_number), **settings) as subject,
    ):
        yield await subject.open()


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
