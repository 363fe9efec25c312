"""Leases of consumers, and recovery of the tasks of the dead (docs/protocol.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from app.core.task import TaskStatus
from app.db.engine import Database
from app.queue.callback import DELIVERY, TELL
from app.queue.claim import SUSPECT_AT
from app.queue.finish import AT, HISTORY, LEFT_ENDED, MARK_GROUPS, Left
from app.queue.pause import PAUSED_KINDS, PAUSED_QUEUES

_RECOVER_SECONDS = 60.0  # one statement, however many tasks the dead held
_SWEEP_LOCK = 0x7A5C  # any number, the same in every consumer

NOT_THERE_YET = 0  # the pid of one that starts: whoever starts it has registered it, and beats for it until it does

_REGISTER = """
INSERT INTO consumers (id, host, pid, kinds, beat_at) VALUES ($1, $2, $3, $4, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET pid = excluded.pid, beat_at = clock_timestamp()
"""
_KEEP = f"UPDATE consumers SET beat_at = clock_timestamp() WHERE id = $1 AND pid = {NOT_THERE_YET} RETURNING 1"
_UNREGISTER = "DELETE FROM consumers WHERE id = $1"
BEAT = "UPDATE consumers SET beat_at = clock_timestamp() WHERE id = $1 RETURNING 1"

# Index tasks_processing.
_HELD_ROWS = "SELECT id, claim_id FROM tasks WHERE status = 'processing' AND consumer_id = $1"

# Quarantine consumers that wait for suspects: they serve no kind, so that `kinds` is empty.
_IDLE_QUARANTINES = """
SELECT count(*) FROM consumers WHERE kinds = '{}'
    AND NOT EXISTS (SELECT FROM tasks WHERE status = 'processing' AND consumer_id = consumers.id)
"""
# One process after another, however many consumers look: each has the handlers' modules to import, and all at once they
# would keep a small host's beats from getting through (docs/decisions/0001).
_IS_STARTING = f"""
EXISTS (SELECT FROM consumers WHERE kinds = '{{}}' AND
    (pid = {NOT_THERE_YET} OR started_at > clock_timestamp() - interval '2 seconds'))
"""

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
       EXISTS (SELECT FROM tasks WHERE status = 'pending' AND (NOT is_blocked) IS TRUE AND run_at <= now()
               AND lost_count >= {SUSPECT_AT} AND kind = ANY($2::text[])
               AND kind <> ALL({PAUSED_KINDS})
               OFFSET ({_IDLE_QUARANTINES})) AND NOT {_IS_STARTING} AS has_suspects,
       EXISTS (SELECT FROM tasks WHERE status = 'pending' AND is_blocked AND lost_count >= 0
               AND run_at <= now()) AS has_blocked,
       EXISTS (SELECT FROM schedules WHERE enabled AND next_run_at <= now()) AS has_ticks,
       EXISTS (SELECT FROM groups WHERE ended_at IS NULL) AS has_open_groups,
       EXISTS (SELECT FROM task_deltas) AS has_deltas,
       {PAUSED_QUEUES} AS paused_queues
"""

_LOCK = "SELECT pg_try_advisory_xact_lock($1)"

# Statements of their own, in this order: a beat that comes in meanwhile either makes the DELETE skip its row, or finds
# no row to beat. In one statement the snapshot would be older than the DELETE's second look.
_BURY = "DELETE FROM consumers WHERE beat_at < clock_timestamp() - $1::interval"
_ORPHANED = """
SELECT DISTINCT consumer_id FROM tasks
WHERE status = 'processing' AND NOT EXISTS (SELECT FROM consumers WHERE consumers.id = tasks.consumer_id)
"""
_ERROR = f"""jsonb_build_object('code', 'consumer_lost', 'attempt', attempt, 'at', {AT},
    'message', 'The consumer that ran this task died (loss ' || (lost_count + 1) || ').')"""

_IS_LAST = "lost_count + 1 >= $2"

# Index tasks_processing; in the order of ids, but as text, so that the primary key can't be read from end to end for
# it. A consumer id is registered before it claims and never used again, so one without a row stays dead, and an
# explicit list of them can't go stale.
_RECOVER = f"""
WITH lost AS MATERIALIZED (
    SELECT id FROM tasks
    WHERE status = 'processing' AND consumer_id = ANY($1::uuid[]) ORDER BY id::text FOR UPDATE
), recovered AS (
    UPDATE tasks
    SET lost_count = lost_count + 1, version = version + 1, updated_at = clock_timestamp(),
        status = CASE WHEN {_IS_LAST} THEN 'failed' ELSE 'pending' END,
        finished_at = CASE WHEN {_IS_LAST} THEN clock_timestamp() END,
        claim_id = CASE WHEN {_IS_LAST} THEN claim_id END,
        consumer_id = CASE WHEN {_IS_LAST} THEN consumer_id END,
        is_blocked = NOT ({_IS_LAST}) AND concurrency_key IS NOT NULL,
        error = CASE WHEN {_IS_LAST} THEN {_ERROR} END,
        history = CASE WHEN {_IS_LAST} THEN history ELSE {HISTORY} || {_ERROR} END
    WHERE id = ANY(ARRAY(SELECT id FROM lost))
    RETURNING tasks.status, tasks.id, tasks.kind, tasks.priority, tasks.concurrency_key, tasks.group_id, {DELIVERY}
), failed AS (
    SELECT group_id FROM recovered WHERE status = 'failed'
), {MARK_GROUPS}, {TELL.format(ended="recovered")}
SELECT status, {LEFT_ENDED} FROM recovered
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What needs doing, and what is not to be done."""

    has_dead: bool
    has_suspects: bool  # more than there are quarantine consumers that wait for them, none of which is starting
    has_blocked: bool
    has_ticks: bool
    has_open_groups: bool
    has_deltas: bool
    paused_queues: Sequence[str]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a sweep did."""

    pending: Sequence[Left]
    failed: Sequence[Left]


async def register(database: Database, consumer_id: UUID, host: str, pid: int, kinds: Sequence[str]) -> None:
    """Begin a lease, of a consumer that claims tasks of these kinds.

    Must be committed before the first claim; may be repeated.
    """
    await database.fetch(_REGISTER, consumer_id, host, pid, kinds)


async def keep_registered(database: Database, consumer_id: UUID) -> bool:
    """Beat for a consumer that is not there yet; False where it is, or has been declared dead."""
    return bool(await database.fetch(_KEEP, consumer_id))


async def unregister(database: Database, consumer_id: UUID) -> None:
    """End a lease in order."""
    await database.fetch(_UNREGISTER, consumer_id)


async def held_rows(database: Database, consumer_id: UUID) -> dict[UUID, UUID]:
    """Task id → claim id of every row that says it is this consumer's."""
    return {row[0]: row[1] for row in await database.fetch(_HELD_ROWS, consumer_id)}


async def look(database: Database, lease_seconds: float, kinds: Sequence[str]) -> Look:
    """What waits for a sweep; of suspects, only those of these kinds."""
    return Look(*(await database.fetch(_LOOK, timedelta(seconds=lease_seconds), kinds))[0])


async def recover(database: Database, lease_seconds: float | None, max_lost: int) -> Recovered:
    """Bury consumers whose lease is over, by PostgreSQL's clock (None: bury nobody), and take back what dead ones had.

    A task lost `max_lost` times is failed instead (`consumer_lost`). One sweep at a time; the others return at once.
    """
    async with database.connection() as connection, connection.transaction():
        if not await connection.fetchval(_LOCK, _SWEEP_LOCK):
            return Recovered((), ())
        if lease_seconds is not None:
            await connection.execute(_BURY, timedelta(seconds=lease_seconds))
        orphaned = [row[0] for row in await connection.fetch(_ORPHANED)]
        await connection.execute(f"SET LOCAL statement_timeout = '{_RECOVER_SECONDS:g}s'")
        rows = await connection.fetch(_RECOVER, orphaned, max_lost, timeout=_RECOVER_SECONDS) if orphaned else []
    pending = [Left(*row[1:]) for row in rows if row[0] == TaskStatus.PENDING]
    return Recovered(pending, [Left(*row[1:]) for row in rows if row[0] == TaskStatus.FAILED])
