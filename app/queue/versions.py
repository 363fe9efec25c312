"""Versions of tasks and groups, to see whether anything has changed: all that are watched in one statement."""

from collections.abc import Sequence
from uuid import UUID

from app.db.engine import Database
from app.queue.read_group import VERSION

# Primary keys, tasks_group_live and tasks_group_ended.
_VERSIONS = f"""
SELECT id, version::bigint AS version FROM tasks WHERE id = ANY($1::uuid[])
UNION ALL
SELECT groups.id, {VERSION}
FROM groups
CROSS JOIN LATERAL (
    SELECT count(*) AS count, coalesce(sum(version), 0) AS versions
    FROM (
        SELECT version FROM tasks WHERE group_id = groups.id AND status IN ('pending', 'processing')
        UNION ALL
        SELECT version FROM tasks WHERE group_id = groups.id AND status IN ('completed', 'failed', 'canceled')
    ) AS member
) AS members
WHERE groups.id = ANY($2::uuid[])
"""


async def read_versions(database: Database, tasks: Sequence[UUID], groups: Sequence[UUID]) -> dict[UUID, int]:
    """The versions of those that exist. Raises DatabaseUnavailableError."""
    return {row[0]: row[1] for row in await database.fetch(_VERSIONS, tasks, groups)}
