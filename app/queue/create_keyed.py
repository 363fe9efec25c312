"""Create tasks some of which have an Idempotency-Key, together with those that have none."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import asyncpg

from app.core.errors import KeyReusedError
from app.core.events import Emit
from app.core.idempotency import IdempotencyKey
from app.core.task import NewTask, Task
from app.db.engine import Database
from app.queue.create import INSERT_PLAIN_ROWS, INSERT_ROWS, Creator, columns, pending, plain_columns
from app.queue.follow_up import FollowUp
from app.queue.idempotency import first_columns, first_cte, made
from app.queue.persist import persist
from app.queue.wakeup import Wakeup

# Of the tasks with a key, only those that are the first of theirs.
_KEYED = """
WITH {first}, created AS (
    {rows} WHERE id <> ALL (${ids}::uuid[]) OR id IN (SELECT unnest(ids) FROM first)
    ON CONFLICT (id) DO NOTHING RETURNING 1
)
SELECT key, fingerprint, ids, created_at, now(), (SELECT count(*) FROM created) FROM first
"""
_CREATE_PLAIN = _KEYED.format(first=first_cte(3), rows=INSERT_PLAIN_ROWS, ids=8)
_CREATE = _KEYED.format(first=first_cte(14), rows=INSERT_ROWS, ids=19)


class KeyedCreator(Creator):
    """A Creator that minds Idempotency-Keys; batches without any are written as by any other."""

    def __init__(self, database: Database, wakeup: Wakeup, follow_up: FollowUp, emit: Emit, kept: timedelta) -> None:
        super().__init__(database, wakeup, follow_up, emit)
        self._kept = kept

    async def insert(self, batch: Sequence[NewTask]) -> list[Task | Exception]:
        """Insert the batch. Of several tasks with one key the first is, and the others are answered as it is."""
        leaders = {key.key: task for task, key in _keyed(reversed(batch))}
        if not leaders:
            return await super().insert(batch)
        distinct = [task for task in batch if task.idempotency is None or leaders[task.idempotency.key] is task]
        results = {task.id: result for task, result in zip(distinct, await super().insert(distinct), strict=True)}
        for task, key in _keyed(batch):
            leader = leaders[key.key]
            if leader is not task:
                results[task.id] = results[leader.id] if leader.idempotency == key else KeyReusedError()
        return [results[task.id] for task in batch]

    async def insert_all(self, batch: Sequence[NewTask]) -> Sequence[Task | Exception]:
        """Insert the batch in one transaction.

        A task whose key is known is the one that was created then, as it was then; or a KeyReusedError.
        """
        keyed = list(_keyed(batch))
        if not keyed:
            return await super().insert_all(batch)
        is_plain = all(task.is_plain for task in batch)
        statement, arguments = (_CREATE_PLAIN, plain_columns(batch)) if is_plain else (_CREATE, columns(batch))
        keys = first_columns([(key, [task.id]) for task, key in keyed], self._kept)
        keyed_ids = [task.id for task, _ in keyed]

        async def write() -> Sequence[Task | Exception]:
            rows = await self.database.fetch(statement, *arguments, *keys, keyed_ids)
            by_key = {row["key"]: row for row in rows}
            results = {task.id: _first_answer(task, key, by_key[key.key]) for task, key in keyed}
            others = [task for task in batch if task.idempotency is None]
            now, count = rows[0][4:]
            if others and count == 0:  # none of them: an earlier try had committed after all
                results |= {task.id: task for task in await self.read(others)}
            else:
                results |= {task.id: pending(task, now) for task in others}
            return [results[task.id] for task in batch]

        return await persist(write)


def _keyed(tasks: Iterator[NewTask] | Sequence[NewTask]) -> Iterator[tuple[NewTask, IdempotencyKey]]:
    return ((task, task.idempotency) for task in tasks if task.idempotency is not None)


def _first_answer(task: NewTask, key: IdempotencyKey, row: asyncpg.Record) -> Task | Exception:
    """What was answered to the first request of the key: the same body, the same id and the same time make it again."""
    try:
        first = made(row, key)
    except KeyReusedError as error:
        return error
    return pending(replace(task, id=first.ids[0]), first.created_at)
