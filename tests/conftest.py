"""Real servers for every test: a database of its own, cloned from a migrated one, and a flushed Redis."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import settings as hypothesis_settings
from redis.asyncio import Redis

from app.core.config import Settings
from app.db.engine import Database
from app.db.migrate import migrate
from app.queue.wakeup import Wakeup
from tests.support.proxy import Proxy
from tests.support.receiver import Receiver, receiving
from tests.support.servers import Servers, running_servers
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

TEMPLATE = "taskmill_template"

# How long an example takes says how busy the machine is.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Redis."""
    with tempfile.TemporaryDirectory(prefix="taskmill-") as folder:
        Path(folder).chmod(0o755)
        with running_servers(Path(folder)) as servers:
            yield servers


@pytest.fixture(scope="session")
async def template(servers: Servers) -> AsyncIterator[str]:
    """A migrated database to clone."""
    name = f"{TEMPLATE}_{uuid4().hex[:8]}"
    await execute_once(servers, f"CREATE DATABASE {name}")
    url = "postgresql+asyncpg://" + with_database(servers.database_url, name).partition("://")[2]
    await asyncio.to_thread(migrate, url)
    yield name
    await drop_database(servers, name)


@pytest.fixture
async def database_url(servers: Servers, template: str) -> AsyncIterator[str]:
    """A database of this test's own."""
    name = f"test_{uuid4().hex}"
    await execute_once(servers, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield with_database(servers.database_url, name)
    await drop_database(servers, name)


@pytest.fixture
async def redis_url(servers: Servers) -> str:
    """An empty Redis."""
    async with Redis.from_url(servers.redis_url) as client:
        await client.flushall()
    return servers.redis_url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the test's own."""
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Connection]:
    """A second connection to the database: to look at rows, and to hold them."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    """Settings that make tests quick: a lease of a second, and tasks that sleep for nothing."""
    return quick_settings(database_url, redis_url)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The pool of the code under test."""
    database = Database(settings.database_url, settings.database_pool_size, statement_seconds=30)
    yield database
    await database.close()


@pytest.fixture
def events() -> EventLog:
    """What the code under test emits."""
    return EventLog()


@pytest.fixture
async def wakeup(redis_url: str, events: EventLog) -> AsyncIterator[Wakeup]:
    """The code under test's way to Redis."""
    wakeup = Wakeup(redis_url, events)
    yield wakeup
    await wakeup.close()


@pytest.fixture
async def database_proxy(database_url: str) -> AsyncIterator[Proxy]:
    """PostgreSQL behind a proxy."""
    async for proxy in _proxy(database_url):
        yield proxy


@pytest.fixture
async def redis_proxy(redis_url: str) -> AsyncIterator[Proxy]:
    """Redis behind a proxy."""
    async for proxy in _proxy(redis_url):
        yield proxy


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A web service on 127.0.0.1."""
    async with receiving() as receiver:
        yield receiver


def quick_settings(database_url: str, redis_url: str, **others: object) -> Settings:
    """Settings with a short lease."""
    values: dict[str, object] = {
        "beat_seconds": 0.3,
        "lease_seconds": 1.2,
        "poll_seconds": 0.3,
        "drain_seconds": 2,
        "consumer_concurrency": 20,
    }
    return Settings.model_validate({"database_url": database_url, "redis_url": redis_url} | values | others)


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def _proxy(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    await proxy.start()
    yield proxy
    await proxy.stop()


async def drop_database(servers: Servers, name: str) -> None:
    """Drop it, with whatever connections a test has left open."""

    async def is_dropped() -> bool:
        try:
            await execute_once(servers, f"DROP DATABASE {name} WITH (FORCE)")
        except asyncpg.InsufficientPrivilegeError:  # a worker of autovacuum is there just now, which may not be ended
            return False
        return True

    await until(is_dropped)


async def execute_once(servers: Servers, statement: str) -> None:
    """Run a statement on a connection of its own, outside of any test's database."""
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
