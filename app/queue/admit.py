"""Admit: of the tasks with one concurrency key, let through as many as may run at once.

A keyed task is pending and blocked until it is admitted; claims see admitted ones only, and never look at keys. What is
admitted and not ended holds one of the key's places. Whatever gives a place back (an end, a retry, a release, the
recovery of a dead consumer's task) is followed by an admission, and each sweep makes up for one that was lost.
"""

import time
from collections.abc import Sequence

from app.core.task import Hint
from app.db.engine import Database
from app.queue.pause import PAUSED_KINDS

_LOCK_CLASS = 0x7A5D
_SWEEP_LOCK = 0x7A5E
_MOST_KEYS = 1_000  # in one transaction
_SWEEP_SECONDS = 0.5  # what else a consumer sweeps for waits so long, however many keys there are

# Two admissions of one key must not both count before either has let anything through. In the order of the locks, so
# that two batches can't deadlock; a statement of its own, so that the next one's snapshot is younger.
_LOCK = """
SELECT pg_advisory_xact_lock($1, place.hash)
FROM (SELECT DISTINCT hashtext(key) AS hash FROM unnest($2::text[]) AS key ORDER BY hash) AS place
"""

# Indexes tasks_admitted (places taken) and tasks_blocked (who is next; one look for each priority, so that what is due
# later is never read). Each task has a limit of its own, and the lowest of those that are through counts: they are let
# through in their order, up to the first for which there is no place. One whose kind no consumer serves just now, or
# whose queue is paused, would hold its place for ever: it stays blocked, and those behind it pass.
_SERVED = f"""(
    SELECT array_agg(kind) FROM consumers CROSS JOIN LATERAL unnest(kinds) AS kind WHERE kind <> ALL({PAUSED_KINDS})
)::text[]"""
_NEXT = f"""
SELECT ready.* FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS level (priority) CROSS JOIN LATERAL (
    SELECT {{columns}} FROM tasks
    WHERE status = 'pending' AND is_blocked AND concurrency_key = keys.key AND priority = level.priority
        AND run_at <= now() AND kind = ANY({_SERVED})
    ORDER BY run_at LIMIT {{limit}} {{lock}}
) AS ready LIMIT {{limit}}
"""
_LOCKED = "id, priority, run_at, concurrency_limit"
_ADMIT = f"""
WITH next AS MATERIALIZED (
    SELECT keys.key, places.taken, places.tightest, ready.*
    FROM (SELECT DISTINCT key FROM unnest($1::text[]) AS key) AS keys
    CROSS JOIN LATERAL ({_NEXT.format(columns="concurrency_limit", limit="1", lock="")}) AS first
    CROSS JOIN LATERAL (
        SELECT count(*) AS taken, min(concurrency_limit) AS tightest,
            greatest(0, first.concurrency_limit - count(*)) AS free
        FROM tasks
        WHERE concurrency_key IS NOT NULL AND status IN ('pending', 'processing') AND NOT is_blocked
            AND concurrency_key = keys.key
    ) AS places
    CROSS JOIN LATERAL ({_NEXT.format(columns=_LOCKED, limit="places.free", lock="FOR UPDATE SKIP LOCKED")}) AS ready
), placed AS (
    SELECT id, taken + row_number() OVER in_order <= least(tightest, min(concurrency_limit) OVER in_order) AS fits
    FROM next WINDOW in_order AS (PARTITION BY key ORDER BY priority, run_at, id)
)
UPDATE tasks SET is_blocked = false WHERE id = ANY(ARRAY(SELECT id FROM placed WHERE fits))
RETURNING tasks.id, tasks.kind, tasks.priority
"""

# Index tasks_admitted. The consumers that served it are gone since it was admitted, or its queue was paused.
_TAKE_BACK = f"""
UPDATE tasks SET is_blocked = true WHERE id = ANY(ARRAY(
    SELECT id FROM tasks
    WHERE concurrency_key IS NOT NULL AND status IN ('pending', 'processing') AND NOT is_blocked
        AND concurrency_key = ANY($1::text[]) AND (status = 'pending') IS TRUE AND kind <> ALL({_SERVED})
    FOR UPDATE SKIP LOCKED
))
"""

_TRY_LOCK = "SELECT key FROM unnest($2::text[]) AS key WHERE pg_try_advisory_xact_lock($1, hashtext(key))"
_SWEEP_ALONE = "SELECT pg_try_advisory_xact_lock($1)"

# Index tasks_blocked, stepping from one key to the next.
_NEXT_KEY = """
SELECT concurrency_key AS key FROM tasks
WHERE status = 'pending' AND is_blocked AND run_at <= now() AND concurrency_key > {after}
ORDER BY concurrency_key LIMIT 1
"""
_WAITING_KEYS = f"""
WITH RECURSIVE waiting AS (
    ({_NEXT_KEY.format(after="$1")})
    UNION ALL
    SELECT ({_NEXT_KEY.format(after="waiting.key")}) FROM waiting WHERE waiting.key IS NOT NULL
)
SELECT key FROM waiting WHERE key IS NOT NULL LIMIT $2
"""


async def admit(database: Database, keys: Sequence[str]) -> list[Hint]:
    """Let through what these keys have places for; the tasks that can be claimed now.

    Raises DatabaseUnavailableError: then the next sweep does it.
    """
    async with database.connection() as connection, connection.transaction():
        await connection.execute(_LOCK, _LOCK_CLASS, keys)
        return [Hint(*row) for row in await connection.fetch(_ADMIT, keys)]


class KeySweep:
    """Walks through the keys that have somebody waiting, and admits for each. One consumer at a time.

    A key that is being admitted right now, or whose lock is held by a process that is frozen, is passed over.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last = ""

    async def sweep(self, seconds: float = _SWEEP_SECONDS) -> list[Hint]:
        """Go on from the last key, for so long at most, or to the end; the tasks that can be claimed now.

        Raises as admit.
        """
        admitted: list[Hint] = []
        end = time.monotonic() + seconds
        while True:
            async with self._database.connection() as connection, connection.transaction():
                if not await connection.fetchval(_SWEEP_ALONE, _SWEEP_LOCK):
                    return admitted
                keys = [row[0] for row in await connection.fetch(_WAITING_KEYS, self._last, _MOST_KEYS)]
                free = [row[0] for row in await connection.fetch(_TRY_LOCK, _LOCK_CLASS, keys)]
                await connection.execute(_TAKE_BACK, free)
                admitted += [Hint(*row) for row in await connection.fetch(_ADMIT, free)]
            self._last = keys[-1] if len(keys) == _MOST_KEYS else ""
            if not self._last or time.monotonic() > end:
                return admitted
