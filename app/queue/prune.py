"""Prune: delete what ended long ago, a batch at a time (docs/retention.md).

A walk up the primary key, from the oldest row to the youngest that can be old enough, and then again. It needs no index
of its own, and what it has passed over, it reads once a round. Where it stands is a row, so that any consumer goes on
with it, and only one at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from app.core.retention import Retention
from app.core.task_filter import first_id
from app.db.engine import Database

_MOST_READ = 10_000
_MOST_DELETED = 500
_LEASE = "interval '1 minute'"  # after which another consumer goes on
_ROUND = "interval '1 minute'"  # from the end of one to the beginning of the next

# Primary keys, and of the groups that are asked for the indexes of their members. Rows pass through the window function
# and LIMIT one by one, so no more are read than are asked for. The last that was read is where the next batch begins.
_PRUNE = f"""
WITH turn AS MATERIALIZED (
    SELECT last_id FROM walks
    WHERE name = '{{table}}' AND (holder = $1 OR due_at <= clock_timestamp())
    FOR UPDATE SKIP LOCKED
), found AS MATERIALIZED (
    SELECT walked.* FROM turn CROSS JOIN LATERAL (
        SELECT id, place, is_old FROM (
            SELECT id, row_number() OVER () AS place, coalesce({{is_old}}, false) AS is_old
            FROM (
                SELECT * FROM {{table}} WHERE id > turn.last_id AND id < $2 ORDER BY id LIMIT {_MOST_READ}
            ) AS {{table}}
        ) AS walked
        WHERE is_old OR place = {_MOST_READ}
        LIMIT {_MOST_DELETED}
    ) AS walked
), gone AS (
    DELETE FROM {{table}}
    WHERE id = ANY(ARRAY(SELECT id FROM found WHERE is_old)) AND ({{is_final}}) IS TRUE
    RETURNING 1
), read AS (
    SELECT count(*) < {_MOST_DELETED} AND coalesce(max(place), 0) < {_MOST_READ} AS is_over,
        (SELECT id FROM found ORDER BY id DESC LIMIT 1) AS last_id
    FROM found
), moved AS (
    UPDATE walks SET last_id = CASE WHEN is_over THEN '00000000-0000-0000-0000-000000000000' ELSE read.last_id END,
        holder = CASE WHEN NOT is_over THEN $1::uuid END,
        due_at = clock_timestamp() + CASE WHEN is_over THEN {_ROUND} ELSE {_LEASE} END
    FROM read WHERE walks.name = '{{table}}' AND EXISTS (SELECT FROM turn)
    RETURNING is_over
)
SELECT (SELECT count(*) FROM gone) AS deleted, is_over FROM moved
"""

# A group's members stay until all of them have ended, and it is marked so: at that moment they are counted. The status
# is asked for again when the row is locked: a client may be retrying the task.
_TASKS = _PRUNE.format(
    table="tasks",
    is_old="""
        finished_at < now() - CASE status WHEN 'completed' THEN $3::interval WHEN 'failed' THEN $4::interval
            WHEN 'canceled' THEN $5::interval END
        AND (group_id IS NULL OR NOT EXISTS (SELECT FROM groups WHERE groups.id = group_id AND ended_at IS NULL))
    """,
    is_final="tasks.status IN ('completed', 'failed', 'canceled')",
)

_HAS_NONE = (
    "(SELECT count(*) FROM (SELECT FROM tasks WHERE group_id = groups.id AND status IN ({}) LIMIT 1) AS one) = 0"
)
_GROUPS = _PRUNE.format(
    table="groups",
    is_old=f"""
        ended_at < now() - $3::interval AND {_HAS_NONE.format("'pending', 'processing'")}
        AND {_HAS_NONE.format("'completed', 'failed', 'canceled'")}
    """,
    is_final="groups.ended_at IS NOT NULL",
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a batch came to. `is_over`: it was the last of a round."""

    deleted: int
    is_over: bool


async def prune_tasks(database: Database, consumer_id: UUID, kept: Retention) -> Pruned | None:
    """Delete a batch of tasks that are old enough; None where it is another consumer's turn, or none's yet."""
    bound = first_id(datetime.now(UTC), -kept.times[0])
    return _pruned(await database.fetch(_TASKS, consumer_id, bound, kept.completed, kept.failed, kept.canceled))


async def prune_groups(database: Database, consumer_id: UUID, kept: Retention) -> Pruned | None:
    """The same for groups without members that ended longer ago than any task is kept."""
    bound = first_id(datetime.now(UTC), -kept.times[-1])
    return _pruned(await database.fetch(_GROUPS, consumer_id, bound, kept.times[-1]))


def _pruned(rows: Sequence[asyncpg.Record]) -> Pruned | None:
    return Pruned(*rows[0]) if rows else None
