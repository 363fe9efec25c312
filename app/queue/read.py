"""Read tasks by id, many in one statement."""

from collections.abc import Sequence
from uuid import UUID

from app.core.task import Task
from app.db.engine import Database

# Primary key.
_SELECT = """
SELECT id, kind, content::text, status, created_at, updated_at FROM tasks WHERE id = ANY($1::uuid[])
"""


async def read_tasks(database: Database, ids: Sequence[UUID]) -> dict[UUID, Task]:
    """The tasks that exist among `ids`."""
    return {row[0]: Task(*row) for row in await database.fetch(_SELECT, ids)}


async def ping_database(database: Database) -> None:
    """Raises DatabaseUnavailableError with the reason where PostgreSQL does not answer, or is not migrated."""
    await database.fetch("SELECT FROM tasks LIMIT 0")
