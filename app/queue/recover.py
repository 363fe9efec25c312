"""Leases of consumers, and recovery of the tasks of the dead (docs/protocol.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from app.db.engine import Database
from app.queue.claim import SUSPECT_AT

_RECOVER_SECONDS = 60.0  # one statement, however many tasks the dead held
_SWEEP_LOCK = 0x7A5C  # any number, the same in every consumer

_REGISTER = """
INSERT INTO consumers (id, host, pid, beat_at) VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET beat_at = clock_timestamp()
"""
_UNREGISTER = "DELETE FROM consumers WHERE id = $1"
BEAT = "UPDATE consumers SET beat_at = clock_timestamp() WHERE id = $1 RETURNING 1"

# Index tasks_processing.
_HELD_ROWS = "SELECT id, claim_id FROM tasks WHERE status = 'processing' AND consumer_id = $1"

# One cheap look, so that an idle system does not take the lock every time. The consumers of processing rows are found
# by stepping through tasks_processing from one id to the next, not by reading all of it.
_LOOK = f"""
WITH RECURSIVE holder AS (
    (SELECT consumer_id FROM tasks WHERE status = 'processing' ORDER BY consumer_id LIMIT 1)
    UNION ALL
    SELECT (SELECT consumer_id FROM tasks WHERE status = 'processing' AND consumer_id > holder.consumer_id
            ORDER BY consumer_id LIMIT 1)
    FROM holder WHERE holder.consumer_id IS NOT NULL
)
SELECT EXISTS (SELECT FROM consumers WHERE beat_at < clock_timestamp() - $1::interval)
       OR EXISTS (SELECT FROM holder WHERE consumer_id IS NOT NULL
                  AND NOT EXISTS (SELECT FROM consumers WHERE consumers.id = holder.consumer_id)) AS has_dead,
       EXISTS (SELECT FROM tasks WHERE status = 'pending' AND run_at <= now() AND lost_count >= {SUSPECT_AT})
           AS has_suspects
"""

_LOCK = "SELECT pg_try_advisory_xact_lock($1)"

# Statements of their own, in this order: a beat that comes in meanwhile either makes the DELETE skip its row, or finds
# no row to beat. In one statement the snapshot would be older than the DELETE's second look.
_BURY = "DELETE FROM consumers WHERE beat_at < clock_timestamp() - $1::interval"
_ORPHANED = """
SELECT DISTINCT consumer_id FROM tasks
WHERE status = 'processing' AND NOT EXISTS (SELECT FROM consumers WHERE consumers.id = tasks.consumer_id)
"""
# Index tasks_processing. A consumer id is registered before it claims and never used again, so one without a row stays
# dead, and an explicit list of them can't go stale.
_RECOVER = """
WITH lost AS MATERIALIZED (
    SELECT id FROM tasks WHERE status = 'processing' AND consumer_id = ANY($1::uuid[]) ORDER BY id FOR UPDATE
)
UPDATE tasks
SET lost_count = lost_count + 1, updated_at = clock_timestamp(),
    status = CASE WHEN lost_count + 1 >= $2 THEN 'failed' ELSE 'pending' END,
    claim_id = CASE WHEN lost_count + 1 >= $2 THEN claim_id END,
    consumer_id = CASE WHEN lost_count + 1 >= $2 THEN consumer_id END,
    error = CASE WHEN lost_count + 1 >= $2 THEN jsonb_build_object(
        'code', 'consumer_lost', 'attempt', attempt, 'at', clock_timestamp(),
        'message', 'The consumer that ran this task died, ' || (lost_count + 1) || ' times.') END
FROM lost WHERE tasks.id = lost.id
RETURNING tasks.id, status
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What needs doing."""

    has_dead: bool
    has_suspects: bool


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a sweep did."""

    pending: Sequence[UUID]
    failed: Sequence[UUID]


async def register(database: Database, consumer_id: UUID, host: str, pid: int) -> None:
    """Begin a lease. Must be committed before the first claim; may be repeated."""
    await database.fetch(_REGISTER, consumer_id, host, pid)


async def unregister(database: Database, consumer_id: UUID) -> None:
    """End a lease in order."""
    await database.fetch(_UNREGISTER, consumer_id)


async def held_rows(database: Database, consumer_id: UUID) -> dict[UUID, UUID]:
    """Task id → claim id of every row that says it is this consumer's."""
    return {row[0]: row[1] for row in await database.fetch(_HELD_ROWS, consumer_id)}


async def look(database: Database, lease_seconds: float) -> Look:
    """Whether a sweep would find anything, and whether suspects wait for a quarantine consumer."""
    return Look(*(await database.fetch(_LOOK, timedelta(seconds=lease_seconds)))[0])


async def recover(database: Database, lease_seconds: float, max_lost: int) -> Recovered:
    """Bury consumers whose lease is over, by PostgreSQL's clock, and take back their tasks.

    A task lost `max_lost` times is failed instead (`consumer_lost`). One sweep at a time; the others return at once.
    """
    async with database.connection() as connection, connection.transaction():
        if not await connection.fetchval(_LOCK, _SWEEP_LOCK):
            return Recovered((), ())
        await connection.execute(_BURY, timedelta(seconds=lease_seconds))
        orphaned = [row[0] for row in await connection.fetch(_ORPHANED)]
        await connection.execute(f"SET LOCAL statement_timeout = '{_RECOVER_SECONDS:g}s'")
        rows = await connection.fetch(_RECOVER, orphaned, max_lost, timeout=_RECOVER_SECONDS) if orphaned else []
    return Recovered([r[0] for r in rows if r[1] == "pending"], [r[0] for r in rows if r[1] == "failed"])
