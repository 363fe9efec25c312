"""Create: from an accepted request to a committed row (docs/protocol.md)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from app.core.errors import DatabaseBusyError, DatabaseUnavailableError, RejectedRowError
from app.core.events import Emit, TasksCreated
from app.core.task import Hint, NewTask, Task, TaskStatus
from app.db.engine import Database
from app.queue.follow_up import FollowUp
from app.queue.persist import persist
from app.queue.read import read_tasks
from app.queue.wakeup import Wakeup

_AT_ONCE = timedelta()

# Of most tasks nothing is said but kind and content: these are written by a statement that knows no more.
INSERT_PLAIN_ROWS = """
INSERT INTO tasks (id, kind, content)
SELECT id, kind, content::json FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (id, kind, content)
"""
# A keyed task waits until it is admitted: queue/admit.py.
INSERT_ROWS = """
INSERT INTO tasks (id, kind, content, priority, run_at, max_attempts, timeout_seconds, concurrency_key,
    concurrency_limit, is_blocked, group_id, traceparent, tenant, callback_url)
SELECT id, kind, content::json, priority, coalesce(run_at, now() + delay), max_attempts, timeout_seconds,
    concurrency_key, concurrency_limit, concurrency_key IS NOT NULL, group_id, traceparent,
    tenant, callback_url
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::timestamptz[], $6::interval[], $7::int[],
    $8::float8[], $9::text[], $10::int[], $11::uuid[], $12::text[], $13::text[],
    $14::text[])
    AS new (id, kind, content, priority, run_at, delay, max_attempts, timeout_seconds, concurrency_key,
        concurrency_limit, group_id, traceparent, tenant, callback_url)
"""
# The ids are ours, so a statement whose COMMIT got no answer is simply sent again: what is there already is left alone.
# now() is the transaction's time, which is also the default of created_at: one value serves every row of the batch.
_COUNTED = """
WITH created AS ({rows} ON CONFLICT (id) DO NOTHING RETURNING 1) SELECT now(), count(*) FROM created
"""
_CREATE_PLAIN = _COUNTED.format(rows=INSERT_PLAIN_ROWS)
_CREATE = _COUNTED.format(rows=INSERT_ROWS)


def plain_columns(batch: Sequence[NewTask]) -> tuple[list[object], ...]:
    """The arguments of INSERT_PLAIN_ROWS."""
    return [t.id for t in batch], [t.kind for t in batch], [t.content for t in batch]


def columns(batch: Sequence[NewTask]) -> tuple[list[object], ...]:
    """The arguments of INSERT_ROWS."""
    return (
        *plain_columns(batch),
        [t.priority for t in batch],
        [t.run_at for t in batch],
        [_AT_ONCE if t.delay is None else t.delay for t in batch],
        [t.max_attempts for t in batch],
        [t.timeout_seconds for t in batch],
        [t.concurrency_key for t in batch],
        [t.concurrency_limit for t in batch],
        [t.group_id for t in batch],
        [t.traceparent for t in batch],
        [t.tenant for t in batch],
        [t.callback_url for t in batch],
    )


class Creator:
    """Writes batches of new tasks, then wakes the consumers."""

    def __init__(self, database: Database, wakeup: Wakeup, follow_up: FollowUp, emit: Emit) -> None:
        self.database = database
        self._wakeup = wakeup
        self._follow_up = follow_up
        self._emit = emit

    async def create(self, batch: Sequence[NewTask]) -> list[Task | Exception]:
        """Insert the batch in one statement; the tasks in the same order.

        A row that PostgreSQL refuses is a RejectedRowError in its place. Raises DatabaseUnavailableError where
        PostgreSQL stayed away; whether the tasks were then created is unknown.
        """
        results = await self.insert(batch)
        # Another id is that of a task that its key had made before.
        created = [
            task for task, new in zip(results, batch, strict=True) if isinstance(task, Task) and task.id == new.id
        ]
        if created:
            # Strictly after the COMMIT, and never waited for: the rows are the outbox.
            self._wakeup.push(
                [
                    Hint(task.id, task.kind, task.priority)
                    for task in created
                    if task.concurrency_key is None and task.run_at <= task.created_at
                ]
            )
            self._follow_up.freed({task.concurrency_key for task in created if task.concurrency_key is not None})
            self._emit(TasksCreated([task.id for task in created]))
        return results

    async def insert(self, batch: Sequence[NewTask]) -> list[Task | Exception]:
        """Insert the batch, but for the rows that PostgreSQL refuses."""
        try:
            return list(await self.insert_all(batch))
        except asyncpg.DataError as error:  # class 22: some value can't be stored
            if len(batch) == 1:
                return [RejectedRowError(f"PostgreSQL refuses this content ({error.sqlstate}).")]
            middle = len(batch) // 2
            first = await self.insert(batch[:middle])
            try:
                return first + await self.insert(batch[middle:])
            except DatabaseBusyError as busy:  # which says that nothing was sent, and the first half is there
                raise DatabaseUnavailableError from busy

    async def insert_all(self, batch: Sequence[NewTask]) -> Sequence[Task | Exception]:
        """Insert the batch in one transaction."""
        is_plain = all(task.is_plain for task in batch)
        statement, arguments = (_CREATE_PLAIN, plain_columns(batch)) if is_plain else (_CREATE, columns(batch))

        async def write() -> list[Task]:
            created_at, count = (await self.database.fetch(statement, *arguments))[0]
            if count == len(batch):
                return [pending(task, created_at) for task in batch]
            return await self.read(batch)

        return await persist(write)

    async def read(self, batch: Sequence[NewTask]) -> list[Task]:
        """Of an earlier try that had committed after all: the rows have that try's time."""
        rows = await read_tasks(self.database, [task.id for task in batch])
        return [rows[task.id] for task in batch]


def pending(task: NewTask, created_at: datetime) -> Task:
    """The task as it is when it has just been created."""
    run_at = task.run_at or (created_at if task.delay is None else created_at + task.delay)
    return Task(
        id=task.id,
        kind=task.kind,
        content=task.content,
        status=TaskStatus.PENDING,
        priority=task.priority,
        attempt=0,
        max_attempts=task.max_attempts,
        timeout_seconds=task.timeout_seconds,
        concurrency_key=task.concurrency_key,
        group_id=task.group_id,
        progress=None,
        result=None,
        error=None,
        history=None,
        run_at=run_at,
        created_at=created_at,
        updated_at=None,
        started_at=None,
        finished_at=None,
        version=1,
        tenant=task.tenant,
        callback_url=task.callback_url,
    )
