"""Settle: find the end of a group, and have the rest of one canceled that is to stop (docs/groups.md).

Members finish without a look at their group. After the COMMIT of each finish whoever wrote it asks whether the group
has a live member left: of two that finish at the same time, the one whose COMMIT comes second sees both. One row of the
group is so written once, at its end, and not by every member; and a crash between COMMIT and question is made up for by
a sweep over the open groups.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.db.engine import Database
from app.queue.callback import DELIVERY, GROUP_DELIVERY, TELL, TELL_GROUPS
from app.queue.finish import AT
from app.queue.then import START

_SWEEP_LOCK = 0x7A5F
_PAGE = 1_000  # open groups that one sweep looks at; the next goes on behind them
_MOST_STOPPING = 100

# Whether a group has a live member: index tasks_group_live, which begins with a group's youngest member. Without ORDER
# BY, for which statistics might prefer the primary key, backwards. Members start in the order
# of their ids, mostly, so the youngest is live until the end comes near; from the other side the search would pass over
# all that have ended, which stay in the index until nobody's snapshot needs them.
_LIVE = """
CROSS JOIN LATERAL (
    SELECT count(*) AS count FROM (
        SELECT FROM tasks WHERE group_id = groups.id AND status IN ('pending', 'processing') LIMIT 1
    ) AS youngest
) AS live
"""
_IS_STOPPING = "ended_at IS NULL AND (failed_at IS NOT NULL OR canceled_at IS NOT NULL)"

# Primary key, or groups_open. No lock: nearly always the answer is that there is nothing to do.
_DUE = f"""
SELECT groups.id, live.count > 0 AS is_live FROM groups {_LIVE}
WHERE groups.id = ANY($1::uuid[]) AND ended_at IS NULL
    AND (live.count = 0 OR failed_at IS NOT NULL OR canceled_at IS NOT NULL)
"""

# Index tasks_group_live. Locks in the order of ids, as every statement that can wait for a lock. A client that cancels
# a group knows why its tasks are canceled; a member's failure is told to the others as their error.
_CANCEL_REST = f"""
WITH live AS MATERIALIZED (
    SELECT tasks.id FROM (SELECT id FROM groups WHERE id = $1 AND {_IS_STOPPING}) AS groups
    JOIN tasks ON tasks.group_id = groups.id AND tasks.status IN ('pending', 'processing')
    ORDER BY tasks.id
    FOR UPDATE OF tasks
), ended AS (
    UPDATE tasks SET status = 'canceled', finished_at = clock_timestamp(), version = version + 1,
        updated_at = clock_timestamp(),
        error = CASE WHEN (SELECT failed_at FROM groups WHERE id = $1) IS NOT NULL
            THEN jsonb_build_object('code', 'canceled_group', 'attempt', attempt, 'at', {AT},
                'message', 'Another task of its group has failed.') END
    WHERE id = ANY(ARRAY(SELECT id FROM live))
    RETURNING tasks.id, tasks.consumer_id IS NOT NULL AS was_running, tasks.concurrency_key, {DELIVERY}
), {TELL.format(ended="ended")}
SELECT id, was_running, concurrency_key, delivery_id FROM ended
"""

# Compare-and-set of ended_at, the counts and the `then` task, or nothing of it. Two that find the same end: the second
# waits for the group's row, and finds it ended.
_END = f"""
WITH ended AS (
    UPDATE groups SET ended_at = clock_timestamp()
    WHERE id = ANY(ARRAY(
        SELECT groups.id FROM groups {_LIVE}
        WHERE groups.id = ANY($1::uuid[]) AND ended_at IS NULL AND live.count = 0
        ORDER BY groups.id
        FOR UPDATE OF groups
    ))
    RETURNING groups.*, {GROUP_DELIVERY}
), counted AS (
    SELECT ended.*, counts.* FROM ended CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE status = 'completed') AS completed,
            count(*) FILTER (WHERE status = 'failed') AS failed,
            count(*) FILTER (WHERE status = 'canceled') AS canceled
        FROM tasks WHERE group_id = ended.id AND status IN ('completed', 'failed', 'canceled')
    ) AS counts
), started AS ({START}), {TELL_GROUPS}
SELECT counted.id, completed, failed, canceled, counted.delivery_id,
    started.id AS then_id, started.kind, started.priority, started.concurrency_key, started.is_due
FROM counted LEFT JOIN started ON started.id = counted.then_id
"""

_SWEEP_ALONE = "SELECT pg_try_advisory_xact_lock($1)"

# Indexes groups_stopping and groups_open.
_STOPPING = f"SELECT id FROM groups WHERE {_IS_STOPPING} ORDER BY id LIMIT {_MOST_STOPPING}"
_OPEN = f"SELECT id FROM groups WHERE ended_at IS NULL AND id > $1 ORDER BY id LIMIT {_PAGE}"


@dataclass(frozen=True, slots=True)
class Due:
    """Groups for which there is something to do. `stopping`: those of them whose live members are to be canceled."""

    ids: Sequence[UUID]
    stopping: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class CanceledMember:
    """A member that was canceled with its group."""

    id: UUID
    was_running: bool
    concurrency_key: str | None
    delivery_id: UUID | None  # of the task that tells its end


@dataclass(frozen=True, slots=True)
class Ended:
    """A group that has ended: its counts, and what was started then.

    The task that tells its end, and the `then` task: None where there is none.
    """

    id: UUID
    completed: int
    failed: int
    canceled: int
    delivery_id: UUID | None
    then_id: UUID | None
    then_kind: str | None
    then_priority: int | None
    then_key: str | None
    then_is_due: bool | None


async def find_due(database: Database, ids: Sequence[UUID]) -> Due:
    """Those of these groups that have ended and are not marked so, or that are to stop."""
    rows = await database.fetch(_DUE, ids)
    return Due([row[0] for row in rows], [row[0] for row in rows if row[1]])


async def cancel_rest(database: Database, group_id: UUID) -> list[CanceledMember]:
    """Cancel the live members of a group that is to stop. One group a statement, so that it ends within its time."""
    return [CanceledMember(*row) for row in await database.fetch(_CANCEL_REST, group_id)]


async def end(database: Database, ids: Sequence[UUID]) -> list[Ended]:
    """Mark those of these groups that have no live member as ended, and start their `then` tasks; once each."""
    return [Ended(*row) for row in await database.fetch(_END, ids)]


class GroupSweep:
    """Walks through the open groups, a page at a time, for what no question after a finish has found.

    One consumer at a time; each goes on where it left off itself.
    """

    def __init__(self, database: Database, settle: Callable[[Sequence[UUID]], Awaitable[None]]) -> None:
        self._database = database
        self._settle = settle
        self._last = UUID(int=0)

    async def sweep(self) -> None:
        """Settle those that are to stop, up to a number, and the next page of the open ones."""
        async with self._database.connection() as connection, connection.transaction():
            if not await connection.fetchval(_SWEEP_ALONE, _SWEEP_LOCK):
                return
            stopping = [row[0] for row in await connection.fetch(_STOPPING)]
            page = [row[0] for row in await connection.fetch(_OPEN, self._last)]
            self._last = page[-1] if len(page) == _PAGE else UUID(int=0)
            if ids := {*stopping, *page}:
                await self._settle(sorted(ids))
