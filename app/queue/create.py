"""Create: from an accepted request to a committed row (docs/protocol.md)."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from app.core.errors import DatabaseUnavailableError, RejectedRowError
from app.core.events import Emit, TasksCreated
from app.core.task import NewTask, Task, TaskStatus
from app.db.engine import Database
from app.queue.read import read_tasks
from app.queue.wakeup import Wakeup

# For a connection that broke, not for an outage. A statement may take 2 s more, and a request may wait behind a flush
# that fails: 2 x (0.5 + 2) s is what it may take until its own answer.
RETRY_SECONDS = 0.5
_RETRY_PAUSE_SECONDS = 0.05

# The ids are ours, so a statement whose COMMIT got no answer is simply sent again: what is there already is left alone.
# now() is the transaction's time, which is also the default of created_at: one value serves every row of the batch.
_INSERT = """
WITH created AS (
    INSERT INTO tasks (id, kind, content)
    SELECT id, kind, content::json FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (id, kind, content)
    ON CONFLICT (id) DO NOTHING
    RETURNING 1
)
SELECT now(), count(*) FROM created
"""


class Creator:
    """Writes batches of new tasks, then wakes the consumers."""

    def __init__(self, database: Database, wakeup: Wakeup, emit: Emit) -> None:
        self._database = database
        self._wakeup = wakeup
        self._emit = emit

    async def create(self, batch: Sequence[NewTask]) -> list[Task | Exception]:
        """Insert the batch in one statement; the tasks in the same order.

        A row that PostgreSQL refuses is a RejectedRowError in its place. Raises DatabaseUnavailableError where
        PostgreSQL stayed away; whether the tasks were then created is unknown.
        """
        results = await self._insert(batch)
        created = [task.id for task in results if isinstance(task, Task)]
        if created:
            self._wakeup.push(created)  # strictly after the COMMIT, and never waited for: the rows are the outbox
            self._emit(TasksCreated(created))
        return results

    async def _insert(self, batch: Sequence[NewTask]) -> list[Task | Exception]:
        try:
            return list(await self._insert_all(batch))
        except asyncpg.DataError as error:  # class 22: some value can't be stored
            if len(batch) == 1:
                return [RejectedRowError(f"PostgreSQL refuses this content ({error.sqlstate}).")]
            middle = len(batch) // 2
            return await self._insert(batch[:middle]) + await self._insert(batch[middle:])

    async def _insert_all(self, batch: Sequence[NewTask]) -> list[Task]:
        columns = [t.id for t in batch], [t.kind for t in batch], [t.content for t in batch]
        give_up = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                created_at, count = (await self._database.fetch(_INSERT, *columns))[0]
                if count == len(batch):
                    return [_pending(task, created_at) for task in batch]
                # An earlier try had committed after all, so the rows have that try's time.
                rows = await read_tasks(self._database, [task.id for task in batch])
                return [rows[task.id] for task in batch]
            except DatabaseUnavailableError:
                if time.monotonic() >= give_up:
                    raise
                await asyncio.sleep(_RETRY_PAUSE_SECONDS)


def _pending(task: NewTask, created_at: datetime) -> Task:
    return Task(task.id, task.kind, task.content, TaskStatus.PENDING, created_at, None)
