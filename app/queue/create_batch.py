"""Create many tasks of one request, in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.events import Emit, TasksCreated
from app.core.idempotency import IdempotencyKey
from app.core.task import Hint, NewTask, Priority, SameHints
from app.db.engine import Database
from app.queue.create import INSERT_ROWS, columns
from app.queue.follow_up import FollowUp
from app.queue.idempotency import first_columns, first_cte, made
from app.queue.persist import persist
from app.queue.wakeup import Wakeup

# Columns that are one text each, a line for each row, and cut by PostgreSQL: of an array asyncpg asks each element
# whether it is an array itself. Neither an id nor a kind nor the JSON text of a content has a line break in it.
_INSERT_PLAIN_ROWS = """
INSERT INTO tasks (id, kind, content, traceparent, tenant)
SELECT id, kind, content::json, $4::text, $5::text
FROM unnest(string_to_array($1, E'\\n')::uuid[], string_to_array($2, E'\\n'), string_to_array($3, E'\\n'))
    AS new (id, kind, content)
"""
# As in queue/create.py.
_CREATE = "WITH created AS ({rows} ON CONFLICT (id) DO NOTHING RETURNING 1) SELECT now(), count(*) FROM created"
_CREATE_PLAIN = _CREATE.format(rows=_INSERT_PLAIN_ROWS)
_CREATE_FULL = _CREATE.format(rows=INSERT_ROWS)
_CREATED_AT = "SELECT created_at FROM tasks WHERE id = $1"  # primary key
# All have one Idempotency-Key: created if they are the first of it.
_KEYED = """
WITH {first}, created AS (
    {rows} WHERE (SELECT ids FROM first) = (${ids}::text[])[1]::uuid[] ON CONFLICT (id) DO NOTHING
)
SELECT * FROM first
"""
_CREATE_PLAIN_KEYED = _KEYED.format(first=first_cte(5), rows=_INSERT_PLAIN_ROWS, ids=8)
_CREATE_FULL_KEYED = _KEYED.format(first=first_cte(14), rows=INSERT_ROWS, ids=17)


@dataclass(slots=True)
class PlainTasks:
    """New tasks of which nothing is said but kind and content, column by column: a row of them costs next to nothing.

    `ids` are texts; `contents` are JSON texts, already checked. The rest is the same for all of them.
    """

    ids: Sequence[str]
    kinds: Sequence[str]
    contents: Sequence[str]
    traceparent: str | None
    tenant: str | None


def plain_lines(tasks: PlainTasks) -> tuple[object, ...]:
    """The arguments of _CREATE_PLAIN: of each column a text with a line for each task."""
    lines = ("\n".join(column) for column in (tasks.ids, tasks.kinds, tasks.contents))
    return *lines, tasks.traceparent, tasks.tenant


@dataclass(slots=True)
class BatchKey:
    """An Idempotency-Key of many tasks. `ids`: of what is asked for, in its order; None where nothing is created."""

    idempotency: IdempotencyKey
    ids: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class CreatedBatch:
    """When the tasks were created; `ids` where it was by an earlier request with the key, in the order of BatchKey."""

    created_at: datetime
    ids: Sequence[str | None] | None = None


class BatchCreator:
    """Writes new tasks, all or none, then wakes the consumers."""

    def __init__(self, database: Database, wakeup: Wakeup, follow_up: FollowUp, emit: Emit, kept: timedelta) -> None:
        self._database = database
        self._wakeup = wakeup
        self._follow_up = follow_up
        self._emit = emit
        self._kept = kept

    async def create(self, tasks: PlainTasks | Sequence[NewTask], key: BatchKey | None = None) -> CreatedBatch:
        """Insert one task or more.

        Raises KeyReusedError where the key was another request's; asyncpg.DataError where PostgreSQL refuses a value;
        and DatabaseUnavailableError where it stayed away: whether the tasks were then created is unknown.
        """
        batch = await persist(lambda: self._insert(tasks, key))
        if batch.ids is None:
            # Strictly after the COMMIT, and never waited for: the rows are the outbox.
            if isinstance(tasks, PlainTasks):
                self._announce_plain(tasks)
            else:
                self._announce(tasks, batch.created_at)
        return batch

    async def _insert(self, tasks: PlainTasks | Sequence[NewTask], key: BatchKey | None) -> CreatedBatch:
        arguments: tuple[object, ...]
        if isinstance(tasks, PlainTasks):
            statement, keyed_statement = _CREATE_PLAIN, _CREATE_PLAIN_KEYED
            arguments = plain_lines(tasks)
            first_id = tasks.ids[0]
        else:
            statement, keyed_statement = _CREATE_FULL, _CREATE_FULL_KEYED
            arguments = columns(tasks)
            first_id = str(tasks[0].id)
        if key is None:
            now, count = (await self._database.fetch(statement, *arguments))[0]
            # None, if an earlier try had committed after all: then its time counts.
            return CreatedBatch(now if count else (await self._database.fetch(_CREATED_AT, first_id))[0][0])
        keys = first_columns([(key.idempotency, key.ids)], self._kept)
        first = made((await self._database.fetch(keyed_statement, *arguments, *keys))[0], key.idempotency)
        ids = [None if each is None else str(each) for each in first.ids]
        return CreatedBatch(first.created_at, None if ids == list(key.ids) else ids)

    def _announce_plain(self, tasks: PlainTasks) -> None:
        for kind in set(tasks.kinds):
            ids = [task_id for task_id, each in zip(tasks.ids, tasks.kinds, strict=True) if each == kind]
            self._wakeup.push_all(SameHints(ids, kind, Priority.NORMAL))
        self._emit(TasksCreated(tasks.ids))

    def _announce(self, tasks: Sequence[NewTask], now: datetime) -> None:
        due = [
            Hint(task.id, task.kind, task.priority)
            for task in tasks
            if task.concurrency_key is None and not task.delay and (task.run_at is None or task.run_at <= now)
        ]
        self._wakeup.push(due)
        self._follow_up.freed({task.concurrency_key for task in tasks if task.concurrency_key is not None})
        self._emit(TasksCreated([task.id for task in tasks]))
