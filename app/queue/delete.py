"""Delete a task that has ended, when a client asks for it."""

from uuid import UUID

from app.core.errors import NotDeletableError
from app.core.events import Emit, TaskDeleted
from app.core.task import ENDED
from app.db.engine import Database
from app.queue.read import read_tasks

# Primary keys. A group that is open counts its members when it ends, so until then they stay.
_DELETE = """
DELETE FROM tasks
WHERE id = $1 AND (status IN ('completed', 'failed', 'canceled')) IS TRUE
    AND (group_id IS NULL OR NOT EXISTS (SELECT FROM groups WHERE groups.id = tasks.group_id AND ended_at IS NULL))
RETURNING 1
"""


async def delete_task(database: Database, emit: Emit, task_id: UUID) -> bool:
    """Whether it was there, and is no more. Raises NotDeletableError, which says why it stays."""
    if await database.fetch(_DELETE, task_id):
        emit(TaskDeleted(task_id))
        return True
    task = (await read_tasks(database, [task_id])).get(task_id)
    if task is None:
        return False
    if task.status in ENDED:
        raise NotDeletableError("The task belongs to a group that has not ended: its members can be deleted after it.")
    raise NotDeletableError(f"The task is {task.status}; only one that has ended can be deleted. Cancel it first.")
