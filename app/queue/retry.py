"""Retry, when a client asks for it: failed → pending, a new run (docs/protocol.md)."""

from uuid import UUID

from app.core.errors import NotRetryableError
from app.core.events import Emit, TaskReopened
from app.core.task import Task
from app.db.engine import Database
from app.queue.finish import HISTORY, Left
from app.queue.follow_up import FollowUp
from app.queue.read import COLUMNS, read_tasks

# All attempts are there again; the cursor stays, so that work behind checkpoints goes on where it was. Primary key.
_REOPEN = f"""
UPDATE tasks SET status = 'pending', attempt = 0, lost_count = 0, run_at = clock_timestamp(), error = NULL,
    claim_id = NULL, consumer_id = NULL, is_blocked = concurrency_key IS NOT NULL, started_at = NULL,
    finished_at = NULL, version = version + 1, updated_at = clock_timestamp(),
    history = {HISTORY} || jsonb_build_array(error)
WHERE id = $1 AND (status = 'failed') IS TRUE
RETURNING {COLUMNS}
"""


class Reopener:
    """Takes failed tasks back to pending."""

    def __init__(self, database: Database, follow_up: FollowUp, emit: Emit) -> None:
        self._database = database
        self._follow_up = follow_up
        self._emit = emit

    async def reopen(self, task_id: UUID) -> Task | None:
        """The task, pending again; None where there is none.

        Raises NotRetryableError, which says what it is instead of failed, and DatabaseUnavailableError.
        """
        rows = await self._database.fetch(_REOPEN, task_id)
        if not rows:
            task = (await read_tasks(self._database, [task_id])).get(task_id)
            if task is not None:
                raise NotRetryableError(f"The task is {task.status}; only a failed task can be retried.")
            return None
        task = Task(*rows[0])
        self._follow_up.pending_again([Left(task.id, task.kind, task.priority, task.concurrency_key, None)])
        if task.group_id is not None:
            self._follow_up.changed([task.group_id])
        self._emit(TaskReopened(task.id))
        return task
