"""The schema by its migrations, and the tables in the code, are the same; and there is a way back."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.ext.asyncio import create_async_engine

from app.db.migrate import alembic_config, migrate
from app.db.tables import metadata
from tests.conftest import drop_database, execute_once, with_database
from tests.support.processes import ROOT
from tests.support.servers import Servers


@pytest.fixture
async def empty_url(servers: Servers) -> AsyncIterator[str]:
    """An empty database."""
    name = f"test_{uuid4().hex}"
    await execute_once(servers, f"CREATE DATABASE {name}")
    yield "postgresql+asyncpg://" + with_database(servers.database_url, name).partition("://")[2]
    await drop_database(servers, name)


async def _tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {row[0] for row in rows} - {"alembic_version"}
    finally:
        await connection.close()


async def test_there_and_back_and_there_again(empty_url: str) -> None:
    """Upgrade, downgrade to nothing, upgrade."""
    config = alembic_config(empty_url)
    for _ in range(2):
        await asyncio.to_thread(command.upgrade, config, "head")
        assert await _tables(empty_url) == set(metadata.tables)
        await asyncio.to_thread(command.downgrade, config, "base")
        assert await _tables(empty_url) == set()


async def test_a_newer_schema_is_not_taken_back(empty_url: str) -> None:
    """What an older release says that is started on it: one line."""
    await asyncio.to_thread(migrate, empty_url)
    connection = await asyncpg.connect(empty_url.replace("+asyncpg", ""))
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.db.migrate"),
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": empty_url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().startswith("taskmill: the database (DATABASE_URL) was migrated by a newer release: ")
    assert said.count(b"\n") == 1


async def test_autogenerate_finds_nothing(empty_url: str) -> None:
    """Tables, columns, types, defaults and indexes of app/db/tables.py are those that the migrations make."""
    await asyncio.to_thread(migrate, empty_url)
    engine = create_async_engine(empty_url)

    def differences(connection: SyncConnection) -> object:
        options = {"compare_server_default": True, "compare_type": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_checks_and_storage_are_the_same(empty_url: str) -> None:
    """Autogenerate does not look at these: check constraints, and the room left on pages."""
    await asyncio.to_thread(migrate, empty_url)
    migrated = await _details(empty_url)
    engine = create_async_engine(empty_url)
    await asyncio.to_thread(command.downgrade, alembic_config(empty_url), "base")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    assert await _details(empty_url) == migrated


async def _details(url: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        checks = await connection.fetch(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid::regclass::text IN ('tasks', 'consumers') ORDER BY 1, 2"
        )
        storage = await connection.fetch(
            "SELECT relname, reloptions FROM pg_class WHERE relname IN ('tasks', 'consumers') ORDER BY 1"
        )
        return [tuple(row) for row in (*checks, *storage)]
    finally:
        await connection.close()


async def test_two_starts_at_once_migrate_once(empty_url: str) -> None:
    """The second waits for the first and finds nothing to do."""
    env = {**os.environ, "DATABASE_URL": empty_url, "REDIS_URL": "redis://nowhere"}
    command = (sys.executable, "-m", "app.db.migrate")
    starts = [await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env) for _ in range(3)]
    async with asyncio.timeout(60):
        assert [await start.wait() for start in starts] == [0, 0, 0]
    assert await _tables(empty_url) == set(metadata.tables)


async def test_tasks_that_are_there_are_counted(empty_url: str) -> None:
    """By the migration, once; from then on by triggers."""
    config = alembic_config(empty_url)
    await asyncio.to_thread(command.upgrade, config, "0003")
    connection = await asyncpg.connect(empty_url.replace("+asyncpg", ""))
    insert = (
        "INSERT INTO tasks (id, kind, content, status) SELECT gen_random_uuid(), 'x', '1', status"
        " FROM unnest(ARRAY['pending', 'pending', 'completed', 'failed']) AS status"
    )
    await connection.execute(insert)
    await asyncio.to_thread(command.upgrade, config, "head")
    counts = "SELECT pending, processing, completed, failed, canceled FROM task_counts"
    assert tuple(*await connection.fetch(counts)) == (2, 0, 1, 1, 0)
    await connection.execute(insert)
    noted = await connection.fetch("SELECT status, number FROM task_deltas")
    assert {tuple(row) for row in noted} == {("pending", 2), ("completed", 1), ("failed", 1)}
    await connection.close()
