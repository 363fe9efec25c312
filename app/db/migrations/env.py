"""Alembic runs this for every command."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.db.tables import metadata

_LOCK = 0x7A5D  # two starts at once migrate one after the other
_LOCK_TIMEOUT = (
    "SET lock_timeout = '5s'"  # a migration that can't get a table's lock must not stop all who queue behind
)


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        connection.execute(text(_LOCK_TIMEOUT))
        context.run_migrations()


async def _run() -> None:
    url = context.config.attributes["database_url"]
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


asyncio.run(_run())
