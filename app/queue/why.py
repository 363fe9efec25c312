"""Why: what holds a task back, all of it from one snapshot."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from app.core.task import Task, TaskStatus
from app.core.why import MOST_COUNTED, Holder, Place, Reason, Why
from app.db.engine import Database
from app.queue.claim import SUSPECT_AT
from app.queue.counts import READ_LOADS
from app.queue.queues import LIVE_CONSUMERS
from app.queue.read import COLUMNS

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

_SHOWN = 10  # of those that hold a key's places
_SAME_STATEMENT_SECONDS = 0.01

# Primary keys.
_TASK = f"""
SELECT {COLUMNS}, now() AS at, tasks.is_blocked, tasks.lost_count, tasks.concurrency_limit,
    consumers.id AS consumer_id, consumers.host, consumers.pid
FROM tasks LEFT JOIN consumers ON consumers.id = tasks.consumer_id AND tasks.status = 'processing'
WHERE tasks.id = $1
"""
_PAUSED_AT = "SELECT paused_at FROM queues WHERE name = $1"

# Index tasks_due: one look for each kind and priority, up to the task's own place, and never beyond LIMIT. Of those
# that came due at the same time, the younger id is behind.
_AHEAD = f"""
SELECT count(*) FROM (
    SELECT FROM unnest($1::text[]) AS wanted (kind) CROSS JOIN unnest(ARRAY[0, 1, 2]::smallint[]) AS level (priority)
    CROSS JOIN LATERAL (
        SELECT FROM tasks
        WHERE status = 'pending' AND NOT is_blocked AND kind = wanted.kind AND priority = level.priority
            AND run_at <= CASE WHEN level.priority < $2::smallint THEN now() ELSE $3::timestamptz END
            AND (priority < $2::smallint OR run_at < $3::timestamptz OR id < $4::uuid) AND lost_count < {SUSPECT_AT}
        LIMIT {MOST_COUNTED + 1}
    ) AS earlier
    WHERE level.priority <= $2::smallint
    LIMIT {MOST_COUNTED + 1}
) AS counted
"""

# Index tasks_admitted.
_HELD = f"""
SELECT id, tenant, count(*) OVER () AS held, min(concurrency_limit) OVER () AS tightest FROM (
    SELECT id, tenant, concurrency_limit FROM tasks
    WHERE concurrency_key IS NOT NULL AND status IN ('pending', 'processing') AND NOT is_blocked
        AND concurrency_key = $1
    LIMIT {MOST_COUNTED + 1}
) AS held ORDER BY id LIMIT {_SHOWN}
"""

# Index tasks_blocked: one look for each priority.
_AHEAD_FOR_KEY = f"""
SELECT count(*) FROM (
    SELECT FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS level (priority) CROSS JOIN LATERAL (
        SELECT FROM tasks
        WHERE status = 'pending' AND is_blocked AND concurrency_key = $1 AND priority = level.priority
            AND run_at <= CASE WHEN level.priority < $2::smallint THEN now() ELSE $3::timestamptz END
            AND (priority < $2::smallint OR run_at < $3::timestamptz OR id < $4::uuid)
        LIMIT {MOST_COUNTED + 1}
    ) AS earlier
    WHERE level.priority <= $2::smallint
    LIMIT {MOST_COUNTED + 1}
) AS counted
"""


async def read_why(  # noqa: PLR0911 - one a reason
    database: Database, task_id: UUID, queue: str | None, kinds: Sequence[str], lease_seconds: float
) -> Why | None:
    """What holds this task back; None where there is no such task.

    `queue` and `kinds`: of the task's kind, the queue (None where it is not known) and all that it has.
    """
    async with (
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        row = await connection.fetchrow(_TASK, task_id)
        if row is None:
            return None
        task, at = Task(*list(row)[:-7]), row["at"]
        if task.status != TaskStatus.PENDING:
            holder = None if row["consumer_id"] is None else Holder(row["consumer_id"], row["host"], row["pid"])
            is_running = task.status == TaskStatus.PROCESSING
            return Why(Reason.RUNNING if is_running else Reason.ENDED, task, at, consumer=holder)
        if task.run_at > at:
            return Why(Reason.RETRY if _has_just_failed(task) else Reason.LATER, task, at)
        paused_at: datetime | None = await connection.fetchval(_PAUSED_AT, queue)
        if paused_at is not None:
            return Why(Reason.PAUSED, task, at, paused_at=paused_at)
        consumers = await connection.fetch(LIVE_CONSUMERS, timedelta(seconds=lease_seconds))
        if not any(task.kind in consumer["kinds"] for consumer in consumers):
            return Why(Reason.NO_CONSUMER, task, at)
        if row["is_blocked"]:
            place = await _place(connection, task, row["concurrency_limit"])
            if place.held >= place.limit or place.ahead:
                return Why(Reason.LIMIT, task, at, place=place)
        if row["lost_count"] >= SUSPECT_AT:
            return Why(Reason.QUARANTINE, task, at)
        ahead = await connection.fetchval(_AHEAD, kinds, task.priority, task.run_at, task.id)
        loads = await connection.fetch(READ_LOADS)
    speed = sum(load["ended_per_second"] for load in loads if load["kind"] in kinds)
    seconds = ahead / speed if speed and ahead <= MOST_COUNTED else None
    return Why(Reason.IN_LINE, task, at, ahead=ahead, seconds=seconds)


async def _place(connection: "Connection", task: Task, limit: int) -> Place:
    assert task.concurrency_key is not None
    held = await connection.fetch(_HELD, task.concurrency_key)
    ahead = await connection.fetchval(_AHEAD_FOR_KEY, task.concurrency_key, task.priority, task.run_at, task.id)
    return Place(
        key=task.concurrency_key,
        limit=min(limit, held[0]["tightest"]) if held else limit,
        held=held[0]["held"] if held else 0,
        held_by=[(row["id"], row["tenant"]) for row in held],
        ahead=ahead,
    )


def _has_just_failed(task: Task) -> bool:
    """Whether its last change was a failed attempt, and not a snooze: that notes no error."""
    if task.history is None or task.updated_at is None:
        return False
    last: dict[str, Any] = json.loads(task.history)[-1]
    at = datetime.fromisoformat(last["at"])
    return last["attempt"] == task.attempt and abs((task.updated_at - at).total_seconds()) < _SAME_STATEMENT_SECONDS
