"""Read tasks by id, many in one statement."""

from collections.abc import Sequence
from uuid import UUID

from app.core.task import Task
from app.db.engine import Database

# In the order of core/task.py's Task.
COLUMNS = """
tasks.id, tasks.kind, tasks.content::text, tasks.status, tasks.priority, tasks.attempt, tasks.max_attempts,
tasks.timeout_seconds, tasks.concurrency_key, tasks.group_id, tasks.progress::text, tasks.result::text,
tasks.error::text, tasks.history::text, tasks.run_at, tasks.created_at, tasks.updated_at, tasks.started_at,
tasks.finished_at, tasks.version, tasks.tenant, tasks.callback_url
"""

# Primary key.
_SELECT = f"SELECT {COLUMNS} FROM tasks WHERE id = ANY($1::uuid[])"


async def read_tasks(database: Database, ids: Sequence[UUID]) -> dict[UUID, Task]:
    """The tasks that exist among `ids`."""
    return {row[0]: Task(*row) for row in await database.fetch(_SELECT, ids)}


async def ping_database(database: Database) -> None:
    """Raises DatabaseUnavailableError with the reason where PostgreSQL does not answer, or is not migrated."""
    await database.fetch("SELECT FROM tasks LIMIT 0")
