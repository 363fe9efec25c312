"""One live service for all tests of a module: for tests that only ask it things."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import drop_database, execute_once, with_database
from tests.support.callbacks import SECRET
from tests.support.processes import Service, service
from tests.support.refusals import Refusals
from tests.support.servers import Servers
from tests.support.types import Connection


@pytest.fixture(scope="module")
async def live_database_url(servers: Servers, template: str) -> AsyncIterator[str]:
    """A database of this module's own."""
    name = f"live_{uuid4().hex}"
    await execute_once(servers, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield with_database(servers.database_url, name)
    await drop_database(servers, name)


@pytest.fixture(scope="module")
async def live(servers: Servers, live_database_url: str) -> AsyncIterator[Service]:
    """An API process without consumers."""
    async with service(live_database_url, servers.redis_url, callback_secrets=SECRET) as running:
        yield running


@pytest.fixture(scope="module")
async def live_sql(live_database_url: str) -> AsyncIterator[Connection]:
    """A connection to the live service's database."""
    connection = await asyncpg.connect(live_database_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
async def refusals(live: Service, live_sql: Connection) -> Refusals:
    """Shows that the live service refuses things."""
    return Refusals(live.url, live_sql)
