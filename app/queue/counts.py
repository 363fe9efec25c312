"""Tasks by kind and status, and how many come and go: counted along by triggers on tasks (docs/decisions/0009)."""

import math
import time

from app.core.load import RATE_MINUTES, Load
from app.core.task import TaskStatus
from app.db.engine import Database

FOLD_LOCK = 0x7A60  # the trigger on TRUNCATE takes it as well
_BATCH = 20_000  # rows in one statement: some 50 ms
_CATCH_UP_SECONDS = 1.0  # that a read spends on what no consumer has folded; the next goes on
_RATES_KEPT = "1 hour"

_THIS_MINUTE = "date_trunc('minute', now())"
_FULL = f"{{at}} >= {_THIS_MINUTE} - interval '{RATE_MINUTES} minutes' AND {{at}} < {_THIS_MINUTE}"
_NOW = f"{{at}} >= {_THIS_MINUTE} - interval '1 minute'"
_FULL_AT, _NOW_AT, _NOW_MINUTE = _FULL.format(at="at"), _NOW.format(at="at"), _NOW.format(at="minute")
# Of a delta: what has left an end again, by a retry or by deletion, has ended all the same.
_ENDED = "CASE WHEN status IN ('completed', 'failed', 'canceled') THEN greatest(0, number) ELSE 0 END"
_BY_STATUS = ", ".join(f"CASE status WHEN '{status}' THEN number ELSE 0 END AS {status}" for status in TaskStatus)
_STATUSES = ", ".join(TaskStatus)
_SUMS = ", ".join(f"sum({name})::int8 AS {name}" for name in (*TaskStatus, "created", "ended"))
_ADDED = ", ".join(f"{name} = base.{name} + excluded.{name}" for name in (*TaskStatus, "created", "ended"))

# As many rows as there are kinds, as were written since the last fold, and of some minutes by the primary key: whatever
# the number of tasks. In one snapshot, so that each task is counted once, folded or not.
READ_LOADS = f"""
SELECT kind, {_SUMS},
    (sum(created_lately) / {RATE_MINUTES}.0)::float8 AS created_per_minute,
    (sum(ended_lately) / {RATE_MINUTES}.0)::float8 AS ended_per_minute,
    coalesce(sum(ended_now) / greatest(1, extract(epoch FROM clock_timestamp() - min(since))), 0)::float8
        AS ended_per_second
FROM (
    SELECT kind, {_STATUSES}, created, ended,
        0 AS created_lately, 0 AS ended_lately, 0 AS ended_now, NULL::timestamptz AS since
    FROM task_counts
    UNION ALL
    SELECT kind, {_STATUSES}, created, ended,
        CASE WHEN {_FULL_AT} THEN created ELSE 0 END, CASE WHEN {_FULL_AT} THEN ended ELSE 0 END,
        CASE WHEN {_NOW_AT} THEN ended ELSE 0 END, CASE WHEN {_NOW_AT} AND created + ended > 0 THEN at END
    FROM (SELECT kind, at, created, {_ENDED} AS ended, {_BY_STATUS} FROM task_deltas) AS deltas
    UNION ALL
    SELECT kind, 0, 0, 0, 0, 0, 0, 0,
        CASE WHEN minute < {_THIS_MINUTE} THEN created ELSE 0 END,
        CASE WHEN minute < {_THIS_MINUTE} THEN ended ELSE 0 END,
        CASE WHEN {_NOW_MINUTE} THEN ended ELSE 0 END, CASE WHEN {_NOW_MINUTE} THEN since END
    FROM task_rates WHERE minute >= {_THIS_MINUTE} - interval '{RATE_MINUTES} minutes'
) AS noted
GROUP BY kind
"""

# Deltas are appended and never changed, so what this snapshot sees of them moves as a whole; what commits meanwhile
# waits for the next fold. Whoever does not get the lock moves nothing.
_FOLD = f"""
WITH deleted AS (
    DELETE FROM task_deltas WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM task_deltas WHERE (SELECT pg_try_advisory_xact_lock({FOLD_LOCK})) LIMIT $1
    ))
    RETURNING *
), folded AS (
    SELECT kind, at, created, {_ENDED} AS ended, {_BY_STATUS} FROM deleted
), counted AS (
    INSERT INTO task_counts AS base (kind, {_STATUSES}, created, ended)
    SELECT kind, {_SUMS} FROM folded GROUP BY kind
    ON CONFLICT (kind) DO UPDATE SET {_ADDED}
), rated AS (
    INSERT INTO task_rates AS base (minute, kind, created, ended, since)
    SELECT date_trunc('minute', at) AS minute, kind, sum(created), sum(ended), min(at) FROM folded
    WHERE created + ended > 0 AND at >= {_THIS_MINUTE} - interval '{_RATES_KEPT}'
    GROUP BY 1, 2
    ON CONFLICT (minute, kind) DO UPDATE SET created = base.created + excluded.created,
        ended = base.ended + excluded.ended, since = least(base.since, excluded.since)
), pruned AS (
    DELETE FROM task_rates WHERE minute < {_THIS_MINUTE} - interval '{_RATES_KEPT}'
)
SELECT count(*) FROM folded
"""


# Cheap where somebody folds; where nobody does, because no consumer runs, a read would take longer with each write.
_IS_BEHIND = f"SELECT count(*) > {_BATCH} FROM (SELECT FROM task_deltas LIMIT {_BATCH + 1}) AS deltas"


async def read_loads(database: Database) -> dict[str, Load]:
    """The load of each kind of which there has been a task; exact, and as cheap with a billion tasks as with none."""
    if (await database.fetch(_IS_BEHIND))[0][0]:
        await fold_counts(database, _CATCH_UP_SECONDS)
    return {row[0]: Load(*row[1:]) for row in await database.fetch(READ_LOADS)}


async def fold_counts(database: Database, seconds: float = math.inf) -> None:
    """Add what was noted since the last time to the totals, for so long at most.

    One process at a time; the others return at once.
    """
    end = time.monotonic() + seconds
    while (await database.fetch(_FOLD, _BATCH))[0][0] == _BATCH and time.monotonic() < end:
        pass
