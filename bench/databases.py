"""Databases for benchmarks, on whatever server there is."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from tests.conftest import with_database
from tests.support.types import Connection

_END_OURS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = current_user
"""

_SETTLE_SECONDS = 0.5


@asynccontextmanager
async def new_database(server_url: str) -> AsyncIterator[str]:
    """The address of an empty one, dropped at the end."""
    name = f"bench_{uuid4().hex}"
    await recreate(server_url, name)
    try:
        yield with_database(server_url, name)
    finally:
        await leave(server_url, name)


def redis_database(url: str, number: int) -> str:
    """The same Redis, another of its databases."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}?db={number}"
    return urlunsplit(parts._replace(path=f"/{number}"))


async def recreate(server_url: str, name: str) -> None:
    """Make it anew, empty. Raises asyncpg.PostgresError where somebody else holds the old one."""
    await _replace(server_url, name, make=True)


async def leave(server_url: str, name: str) -> None:
    """Drop it; where that can't be, say so, since what was measured in it is no worse for that."""
    try:
        await _replace(server_url, name, make=False)
    except asyncpg.PostgresError as error:
        sys.stderr.write(f"bench: the database {name} stays: {error}\n")


async def settle(sql: Connection) -> None:
    """Let the server write what it has to, where we may ask for that, and the machine rest for a moment."""
    with suppress(asyncpg.InsufficientPrivilegeError):
        await sql.execute("CHECKPOINT")
    await asyncio.sleep(_SETTLE_SECONDS)


async def _replace(server_url: str, name: str, *, make: bool) -> None:
    admin = await asyncpg.connect(server_url)
    try:
        # Not WITH (FORCE): that asks for leave to end an autovacuum worker, which a role that is no superuser has not.
        # A plain DROP ends those by itself and waits some seconds for all to go, so only our own are to be ended first.
        await admin.fetch(_END_OURS, name)
        await admin.execute(f"DROP DATABASE IF EXISTS {name}")
        if make:
            await admin.execute(f"CREATE DATABASE {name}")
    finally:
        await admin.close()
