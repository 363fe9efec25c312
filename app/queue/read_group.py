"""Read groups by id. Nothing counts along: what a group comes to is counted when somebody asks."""

from collections.abc import Sequence
from uuid import UUID

from app.core.group import Group
from app.db.engine import Database

MOST_ERRORS = 10

# Counts the changes of a group: those of its members, its cancel and its end. Where members are deleted, their changes
# are made up for, so that a later state has a higher number whatever happens. In a statement that has counted
# `members` (count: how many there are, versions: the sum of theirs).
VERSION = """members.versions + ((groups.total - members.count) << 32)
    + (canceled_at IS NOT NULL)::int + (ended_at IS NOT NULL)::int"""

# Indexes tasks_group_live and tasks_group_ended, in one snapshot: a member is in one of the two, and each is counted
# once however many are finishing meanwhile. Written IS TRUE, the look for failed ones can't be met by
# tasks_unsuccessful, which has those of all groups. Progress is a handler's word, so only numbers are summed.
MEMBERS = f"""
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
        count(*) FILTER (WHERE status = 'processing') AS processing,
        count(*) FILTER (WHERE status = 'completed') AS completed,
        count(*) FILTER (WHERE status = 'failed') AS failed,
        count(*) FILTER (WHERE status = 'canceled') AS canceled,
        count(*) AS count, coalesce(sum(version), 0) AS versions, sum(done) AS done,
        CASE WHEN count(*) FILTER (WHERE done IS NOT NULL AND done_of IS NULL) = 0 THEN sum(done_of) END AS done_of
    FROM (
        SELECT status, version,
            CASE json_typeof(progress -> 'done') WHEN 'number' THEN (progress ->> 'done')::numeric END AS done,
            CASE json_typeof(progress -> 'total') WHEN 'number' THEN (progress ->> 'total')::numeric END AS done_of
        FROM (
            SELECT status, version, progress FROM tasks
            WHERE group_id = groups.id AND status IN ('pending', 'processing')
            UNION ALL
            SELECT status, version, progress FROM tasks
            WHERE group_id = groups.id AND status IN ('completed', 'failed', 'canceled')
        ) AS member
    ) AS said
) AS members
CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(jsonb_build_object('task_id', failed.id) || failed.error), '[]') AS first
    FROM (
        SELECT id, error FROM tasks
        WHERE group_id = groups.id AND status IN ('completed', 'failed', 'canceled')
            AND (status = 'failed') IS TRUE AND members.failed > 0
        ORDER BY finished_at, id LIMIT {MOST_ERRORS}
    ) AS failed
) AS errors
"""

_SELECT = f"""
SELECT groups.id, on_failure, total, then_id, created_at, canceled_at, ended_at,
    members.pending, members.processing, members.completed, members.failed, members.canceled,
    members.done::text, members.done_of::text, errors.first::text, tenant, callback_url,
    {VERSION}
FROM groups
{MEMBERS}
WHERE groups.id = ANY($1::uuid[])
"""


async def read_groups(database: Database, ids: Sequence[UUID]) -> dict[UUID, Group]:
    """The groups that exist among `ids`."""
    return {row[0]: Group(*row) for row in await database.fetch(_SELECT, ids)}
