"""Select tasks by a filter, newest first, a page at a time, at a cost that no page and no filter exceeds.

A page is found by walking down an index in the order of ids, from where the page before ended. It reads at most
MOST_READ rows, and is short where it finds too few among them: the next one goes on behind what was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.core.task import Task, TaskStatus
from app.core.task_filter import TaskFilter, Visible
from app.db.engine import Database
from app.queue.read import COLUMNS

MOST_READ = 10_000
_MOST_PARSED = 16 * 2**20  # characters of content, where it is looked into
_LARGEST_PAGE = 8 * 2**20  # characters of content and results; a larger task goes alone

_UNSUCCESSFUL = {TaskStatus.FAILED, TaskStatus.CANCELED}
_LIVE = {TaskStatus.PENDING, TaskStatus.PROCESSING}

# Content that PostgreSQL can look into. What a callback tells has a handler's result in it, which may have a NUL: it is
# kept as JSON, and can't be had as text. Nobody else's content has one.
_LEGIBLE = r"(tasks.kind <> 'callback' OR strpos(tasks.content::text, '\u0000') = 0)"

# The same arguments for all statements: _arguments. Outside of what has a LIMIT, so that no condition here can be met
# by an index that the walk was not written for; the content last, since it is the dearest.
_MATCHES = f"""
(cardinality($4::text[]) = 0 OR tasks.status = ANY($4::text[]))
AND (cardinality($5::text[]) = 0 OR tasks.kind = ANY($5::text[])) AND tasks.kind <> ALL($6::text[])
AND ($7::smallint IS NULL OR tasks.priority = $7::smallint)
AND ($8::timestamptz IS NULL OR tasks.finished_at >= $8::timestamptz)
AND ($9::timestamptz IS NULL OR tasks.finished_at < $9::timestamptz)
AND ($10::boolean OR tasks.tenant IS NOT DISTINCT FROM $11::text)
AND ($12::uuid IS NULL OR tasks.group_id = $12::uuid)
AND NOT EXISTS (
    SELECT FROM unnest($13::text[], $14::text[]) AS wanted (name, value)
    WHERE CASE WHEN {_LEGIBLE} THEN tasks.content ->> wanted.name END IS DISTINCT FROM wanted.value
)
"""

# Down an index, until there are enough or too many are read. The last row may be one that was not read: there the next
# page goes on. Window functions and LIMIT let rows pass one by one, so no more is read than is asked for.
_WALK = f"""
SELECT tasks.* FROM (
    SELECT walked.*, place = 1 OR (place <= {MOST_READ} AND parsed <= {_MOST_PARSED}) AS is_read FROM (
        SELECT *, row_number() OVER running AS place,
            sum(CASE WHEN cardinality($13::text[]) > 0 THEN octet_length(content::text) ELSE 0 END)
                OVER running AS parsed
        FROM ({{candidates}} LIMIT {MOST_READ + 1}) AS candidates
        WINDOW running AS (ROWS UNBOUNDED PRECEDING)
    ) AS walked
) AS tasks
WHERE CASE WHEN tasks.is_read THEN {_MATCHES} ELSE true END
LIMIT $3::int + 1
"""

_BY_ID = _WALK.format(candidates="SELECT * FROM tasks WHERE id >= $1 AND id < $2 ORDER BY id DESC")

# Index tasks_tenant: both columns are compared together, and ordered by, which the primary key could not do.
_BY_TENANT = _WALK.format(
    candidates="""
        SELECT * FROM tasks
        WHERE tenant IS NOT NULL AND (tenant, id) >= ($11::text, $1) AND (tenant, id) < ($11::text, $2)
        ORDER BY tenant DESC, id DESC
    """
)

# Index tasks_unsuccessful, in the same way; two statuses are two walks.
_BY_STATUS = f"""
SELECT tasks.* FROM (SELECT DISTINCT status FROM unnest($4::text[]) AS status) AS sought
CROSS JOIN LATERAL ({
    _WALK.format(
        candidates='''
            SELECT * FROM tasks
            WHERE status IN ('failed', 'canceled')
                AND (status, id) >= (sought.status, $1) AND (status, id) < (sought.status, $2)
            ORDER BY status DESC, id DESC
        '''
    )
}) AS tasks
"""

# Indexes tasks_group_live and tasks_group_ended: a group has 10,000 members at most. OFFSET 0 keeps what is outside
# from being planned into what is inside, by another index.
_BY_GROUP = f"""
SELECT tasks.*, true AS is_read FROM (
    SELECT * FROM tasks WHERE group_id = $12::uuid AND status IN ('pending', 'processing')
    UNION ALL
    SELECT * FROM tasks WHERE group_id = $12::uuid AND status IN ('completed', 'failed', 'canceled')
    OFFSET 0
) AS tasks
WHERE tasks.id >= $1 AND tasks.id < $2 AND {_MATCHES}
ORDER BY tasks.id DESC LIMIT $3::int + 1
"""

# Indexes tasks_processing, tasks_due and tasks_blocked, by their order. These rows are few, most of the time, and would
# be far apart among all that have ended.
_LIVE_IDS = f"""
SELECT id FROM (
    (SELECT id FROM tasks WHERE status = 'processing' AND 'processing' = ANY({{statuses}})
    ORDER BY consumer_id LIMIT {MOST_READ + 1})
    UNION ALL
    (SELECT id FROM tasks WHERE status = 'pending' AND NOT is_blocked AND 'pending' = ANY({{statuses}})
    ORDER BY kind, priority, run_at LIMIT {MOST_READ + 1})
    UNION ALL
    (SELECT id FROM tasks WHERE status = 'pending' AND is_blocked AND 'pending' = ANY({{statuses}})
    ORDER BY concurrency_key, priority, run_at LIMIT {MOST_READ + 1})
) AS live
"""
_ARE_FEW = (
    f"SELECT count(*) <= {MOST_READ} FROM ({_LIVE_IDS.format(statuses='$1::text[]')} LIMIT {MOST_READ + 1}) AS live"
)
_BY_LIFE = f"""
SELECT tasks.*, true AS is_read FROM (
    SELECT id FROM ({_LIVE_IDS.format(statuses="$4::text[]")} OFFSET 0) AS live
    WHERE id >= $1 AND id < $2 ORDER BY id DESC
) AS live
CROSS JOIN LATERAL (SELECT * FROM tasks WHERE tasks.id = live.id OFFSET 0) AS tasks
WHERE {_MATCHES}
LIMIT $3::int + 1
"""

_WALKS = {"id": _BY_ID, "tenant": _BY_TENANT, "status": _BY_STATUS, "group": _BY_GROUP, "life": _BY_LIFE}

# Whole tasks, as many as a page can hold; `found` says how many there would be.
_TASKS = {
    name: f"""
SELECT {COLUMNS}, tasks.is_read, tasks.found FROM (
    SELECT *, count(*) OVER () AS found, row_number() OVER page AS nth,
        sum(octet_length(content::text) + coalesce(octet_length(result::text), 0)) OVER page AS length
    FROM ({walk}) AS tasks
    WINDOW page AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
) AS tasks
WHERE tasks.nth = 1 OR tasks.length <= {_LARGEST_PAGE}
ORDER BY tasks.id DESC
"""
    for name, walk in _WALKS.items()
}
_IDS = {
    name: f"SELECT tasks.id, tasks.is_read FROM ({walk}) AS tasks ORDER BY id DESC" for name, walk in _WALKS.items()
}


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Tasks, newest first. `before`: the next page has lower ids than this; None: this was the last."""

    tasks: Sequence[Task]
    before: UUID | None


@dataclass(frozen=True, slots=True)
class IdPage:
    """The same, of ids alone."""

    ids: Sequence[UUID]
    before: UUID | None


async def select_tasks(
    database: Database, wanted: TaskFilter, visible: Visible, before: UUID | None, limit: int
) -> TaskPage:
    """Up to `limit` tasks with ids below `before`. A page may be short, or empty, and not be the last."""
    walk = await _walk(database, wanted, visible)
    rows = await database.fetch(_TASKS[walk], *_arguments(wanted, visible, before, limit, ()))
    shown, next_before = _cut([(row["id"], row["is_read"]) for row in rows], limit)
    if next_before is None and rows and rows[0]["found"] > len(rows):
        next_before = rows[-1]["id"]
    return TaskPage([Task(*row[:-2]) for row in rows[:shown]], next_before)


async def select_ids(
    database: Database, wanted: TaskFilter, visible: Visible, before: UUID, limit: int, but: Sequence[str]
) -> IdPage:
    """The ids of such tasks, but of none of these kinds."""
    walk = await _walk(database, wanted, visible)
    rows = await database.fetch(_IDS[walk], *_arguments(wanted, visible, before, limit, but))
    shown, next_before = _cut([(row["id"], row["is_read"]) for row in rows], limit)
    return IdPage([row["id"] for row in rows[:shown]], next_before)


async def _walk(database: Database, wanted: TaskFilter, visible: Visible) -> str:
    if wanted.group is not None:
        return "group"
    statuses = set(wanted.statuses)
    if statuses and statuses <= _LIVE and (await database.fetch(_ARE_FEW, wanted.statuses))[0][0]:
        return "life"
    if not visible.is_all and visible.tenant is not None:
        return "tenant"
    return "status" if statuses and statuses <= _UNSUCCESSFUL else "id"


def _arguments(
    wanted: TaskFilter, visible: Visible, before: UUID | None, limit: int, but: Sequence[str]
) -> tuple[object, ...]:
    return (
        wanted.lowest_id,
        wanted.highest_id if before is None else min(before, wanted.highest_id),
        limit,
        wanted.statuses,
        wanted.kinds,
        but,
        wanted.priority,
        wanted.finished_after,
        wanted.finished_before,
        visible.is_all,
        visible.tenant,
        wanted.group,
        list(wanted.content),
        list(wanted.content.values()),
    )


def _cut(rows: Sequence[tuple[UUID, bool]], limit: int) -> tuple[int, UUID | None]:
    """How many of these rows are on the page, and where the next one begins."""
    for place, (task_id, is_read) in enumerate(rows[: limit + 1]):
        if not is_read:
            return place, UUID(int=task_id.int + 1)
        if place == limit:
            return limit, rows[limit - 1][0]
    return len(rows), None
