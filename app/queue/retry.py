"""Retry, when a client asks for it: failed → pending, a new run (docs/protocol.md)."""

from collections.abc import Sequence
from uuid import UUID

from app.core.errors import NotRetryableError
from app.core.events import Emit, TaskReopened
from app.core.task import Task
from app.db.engine import Database
from app.queue.finish import HISTORY, LEFT, Left
from app.queue.follow_up import FollowUp
from app.queue.read import COLUMNS, read_tasks

# All attempts are there again; the cursor stays, so that work behind checkpoints goes on where it was. Primary key;
# locks in the order of ids, as every statement that can wait for a lock.
_REOPENING = f"""
WITH failed AS MATERIALIZED (
    SELECT id FROM tasks WHERE id = ANY($1::uuid[]) AND (status = 'failed') IS TRUE ORDER BY id FOR UPDATE
)
UPDATE tasks SET status = 'pending', attempt = 0, lost_count = 0, run_at = clock_timestamp(), error = NULL,
    claim_id = NULL, consumer_id = NULL, is_blocked = concurrency_key IS NOT NULL, started_at = NULL,
    finished_at = NULL, version = version + 1, updated_at = clock_timestamp(),
    history = {HISTORY} || jsonb_build_array(error)
WHERE tasks.id = ANY(ARRAY(SELECT id FROM failed))
RETURNING {{columns}}
"""
_REOPEN = _REOPENING.format(columns=COLUMNS)
_REOPEN_ALL = _REOPENING.format(columns=LEFT)

# Primary key.
_COUNT = "SELECT count(*) FROM tasks WHERE id = ANY($1::uuid[]) AND (status <> 'failed') IS TRUE"


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
        rows = await self._database.fetch(_REOPEN, [task_id])
        if not rows:
            task = (await read_tasks(self._database, [task_id])).get(task_id)
            if task is not None:
                raise NotRetryableError(f"The task is {task.status}; only a failed task can be retried.")
            return None
        task = Task(*rows[0])
        self._reopened([Left(task.id, task.kind, task.priority, task.concurrency_key, task.group_id)])
        return task

    async def reopen_all(self, ids: Sequence[UUID]) -> int:
        """The same for those of many that are failed; how many of them are failed no more, now or before."""
        rows = await self._database.fetch(_REOPEN_ALL, ids)
        self._reopened([Left(*row) for row in rows])
        if len(rows) == len(ids):
            return len(ids)
        return int((await self._database.fetch(_COUNT, ids))[0][0])

    def _reopened(self, tasks: Sequence[Left]) -> None:
        if tasks:  # their groups have ended, most of them, and stay so: those who watch one see its new counts
            self._follow_up.pending_again([task._replace(group_id=None) for task in tasks])
            self._follow_up.changed({task.group_id for task in tasks if task.group_id is not None})
        for task in tasks:
            self._emit(TaskReopened(task.id))
