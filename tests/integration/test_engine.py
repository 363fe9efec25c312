"""Connections: which errors are an outage, and which connections are used again."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import pytest

from app.core.config import Settings
from app.core.errors import DatabaseUnavailableError
from app.db.engine import SESSION, Database
from app.queue.read import ping_database
from app.queue.recover import held_rows, register
from tests.support.types import Connection
from tests.support.waiting import until


@pytest.mark.parametrize("sqlstate", ["40P01", "40001", "55P03", "53300", "53100", "57P01", "57P03", "58030", "25006"])
async def test_what_may_be_tried_again_is_an_outage(database: Database, sqlstate: str) -> None:
    """Nothing of the statement took effect, or nobody knows."""
    with pytest.raises(DatabaseUnavailableError):
        await database.fetch(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$")


async def test_a_mistake_of_ours_is_none(database: Database) -> None:
    """It passes as it is, and the connection stays good."""
    with pytest.raises(asyncpg.DataError):
        await database.fetch("SELECT 1 / 0")
    assert await database.fetch("SELECT 1")


async def test_connections_that_the_server_closed_are_not_used(database: Database, sql: Connection) -> None:
    """A failover or an administrator ended them while they were idle: the next statement gets a new one."""
    async with AsyncExitStack() as stack:
        pooled = [await stack.enter_async_context(database.connection()) for _ in range(5)]
    others = "FROM pg_stat_activity WHERE application_name = 'taskmill' AND datname = current_database()"
    assert len(await sql.fetch(f"SELECT pg_terminate_backend(pid) {others}")) == 5

    async def all_are_closed() -> bool:
        return all(connection.is_closed() for connection in pooled)

    await until(all_are_closed)
    assert await database.fetch("SELECT 1")


async def test_who_waits_gets_the_next_free_connection(settings: Settings, sql: Connection) -> None:
    """There are never more than may be, idle ones included; and none is left when the pool is closed."""
    database = Database(settings.database_url, 2, 10)
    await database.fetch("SELECT 1")
    async with database.connection(), AsyncExitStack() as stack:
        held = await stack.enter_async_context(database.connection())
        first = held.get_server_pid()
        waiting = [asyncio.create_task(database.fetch("SELECT pg_backend_pid()")) for _ in range(3)]
        assert not (await asyncio.wait(waiting, timeout=0.1))[0]
        await stack.aclose()
        assert [rows[0][0] for rows in await asyncio.gather(*waiting)] == [first] * 3
    others = "FROM pg_stat_activity WHERE application_name = 'taskmill' AND datname = current_database()"
    assert await sql.fetchval(f"SELECT count(*) {others}") == 2
    await database.close()
    await until(lambda: sql.fetchval(f"SELECT count(*) = 0 {others}"))


async def test_what_is_under_way_when_the_pool_is_closed_leaves_no_connection(
    settings: Settings, sql: Connection
) -> None:
    """It is done, and then its connection is not kept for anybody."""
    database = Database(settings.database_url, 2, 10)
    async with database.connection() as connection:
        await database.close()
        assert await connection.fetchval("SELECT 1") == 1
    others = "FROM pg_stat_activity WHERE application_name = 'taskmill' AND datname = current_database()"
    await until(lambda: sql.fetchval(f"SELECT count(*) = 0 {others}"))


async def test_a_statement_whose_caller_is_canceled_is_given_up_by_the_server(
    settings: Settings, sql: Connection
) -> None:
    """It waits for a lock, whose end changes nothing then. Not only since the server looks whether somebody waits."""
    database = Database(settings.database_url, 1, 600, SESSION | {"client_connection_check_interval": "0"})
    waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
    async with sql.transaction():
        await sql.execute("LOCK TABLE tasks")
        statement = asyncio.create_task(database.fetch("DELETE FROM tasks"))
        await until(lambda: sql.fetchval(waiting))
        statement.cancel()
        with pytest.raises(asyncio.CancelledError):
            await statement
        await until(lambda: sql.fetchval(f"SELECT NOT ({waiting})"))
    await database.close()


async def test_the_server_gives_up_when_we_do(settings: Settings, sql: Connection) -> None:
    """A statement that waits for a lock ends with its time, so that it can't commit when nobody expects it."""
    database = Database(settings.database_url, 1, statement_seconds=1)
    async with sql.transaction():
        await sql.execute("LOCK TABLE tasks")
        with pytest.raises(DatabaseUnavailableError):
            await database.fetch("UPDATE tasks SET attempt = 1")
        await until(lambda: sql.fetchval("SELECT count(*) = 0 FROM pg_locks WHERE NOT granted"))
    await database.close()


async def test_without_its_tables_the_database_is_not_ready(database: Database, sql: Connection) -> None:
    """Before the migration."""
    await sql.execute("DROP TABLE tasks")
    with pytest.raises(DatabaseUnavailableError):
        await ping_database(database)


async def test_registering_may_be_repeated(database: Database) -> None:
    """Its first answer may have been lost."""
    consumer_id = (await database.fetch("SELECT gen_random_uuid()"))[0][0]
    for _ in range(2):
        await register(database, consumer_id, "test", 1, ["simulate"])
    assert await held_rows(database, consumer_id) == {}
