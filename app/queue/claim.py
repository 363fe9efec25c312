"""Claim: pending → processing, under a claim id of its own (docs/protocol.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.core.task import Claim
from app.db.engine import Database
from app.queue.pause import PAUSED_KINDS

# A task lost this often is suspected of killing its consumer, and runs where it has no neighbours.
SUSPECT_AT = 2  # as in the index tasks_suspect

# Shared end of the three: a consumer that was declared dead (no row of its own) claims nothing.
# SKIP LOCKED never waits, so these can't deadlock whatever the order of their locks. No join: docs/decisions/0003.
_CLAIM = """
UPDATE tasks
SET status = 'processing', attempt = attempt + 1, claim_id = gen_random_uuid(), consumer_id = $1,
    started_at = clock_timestamp(), version = version + 1, updated_at = clock_timestamp()
WHERE tasks.id = ANY(ARRAY(SELECT id FROM due)) AND EXISTS (SELECT FROM consumers WHERE consumers.id = $1)
RETURNING tasks.id, tasks.claim_id, tasks.kind, tasks.content::text, tasks.attempt, tasks.lost_count,
    tasks.max_attempts, tasks.timeout_seconds, tasks.cursor::text, tasks.traceparent, tasks.tenant,
    tasks.callback_url IS NOT NULL, tasks.group_id
"""

# Primary key. An id from Redis is a hint: the task may be gone, taken, canceled or not due. Written IS TRUE, the
# condition can't be met by tasks_due, which would be read from end to end where statistics are stale.
_BY_ID = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM tasks
    WHERE id = ANY($2::uuid[]) AND (status = 'pending' AND NOT is_blocked) IS TRUE AND kind = ANY($3::text[])
        AND kind <> ALL({PAUSED_KINDS}) AND run_at <= now() AND lost_count < {SUSPECT_AT}
    FOR UPDATE SKIP LOCKED
)
{_CLAIM}
"""

# Index tasks_due. Finds what no id announced: Redis was away or lost its memory, or the task has only now come due.
# One look into the index for each priority and kind, higher priorities first; what is due later, or belongs to others,
# is never read. LIMIT ends it as soon as it has enough, and only what was read until then is locked.
_DUE = f"""
WITH due AS MATERIALIZED (
    SELECT ready.id
    FROM (SELECT * FROM unnest($3::text[], $4::smallint[]) WITH ORDINALITY AS wanted (kind, priority, place)
          WHERE kind <> ALL({PAUSED_KINDS}) ORDER BY place) AS wanted
    CROSS JOIN LATERAL (
        SELECT id FROM tasks
        WHERE status = 'pending' AND NOT is_blocked AND kind = wanted.kind AND priority = wanted.priority
            AND run_at <= now() AND lost_count < {SUSPECT_AT}
        ORDER BY run_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ) AS ready
    LIMIT $2
)
{_CLAIM}
"""

# Index tasks_suspect: written IS TRUE, the condition can't be met by tasks_due, of which all that is due would be read.
_SUSPECTS = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM tasks
    WHERE status = 'pending' AND (NOT is_blocked) IS TRUE AND kind = ANY($3::text[])
        AND kind <> ALL({PAUSED_KINDS}) AND run_at <= now() AND lost_count >= {SUSPECT_AT}
    ORDER BY run_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
{_CLAIM}
"""


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims, and the kinds of task it serves: during a deployment, an older consumer leaves newer kinds alone."""

    consumer_id: UUID
    kinds: Sequence[str]


async def claim_ids(database: Database, who: Claimant, ids: Sequence[UUID]) -> list[Claim]:
    """Claim those of `ids` that are pending and due. Raises DatabaseUnavailableError: then some may be claimed."""
    return [Claim(*row) for row in await database.fetch(_BY_ID, who.consumer_id, ids, who.kinds)]


async def claim_due(database: Database, who: Claimant, limit: int, wanted: Sequence[tuple[int, str]]) -> list[Claim]:
    """Claim up to `limit` tasks that are due, in the order of these (priority, kind) pairs, within each the oldest.

    Raises as claim_ids.
    """
    priorities, kinds = [pair[0] for pair in wanted], [pair[1] for pair in wanted]
    return [Claim(*row) for row in await database.fetch(_DUE, who.consumer_id, limit, kinds, priorities)]


async def claim_suspects(database: Database, who: Claimant, limit: int) -> list[Claim]:
    """Claim suspects only: the work of a quarantine consumer. Raises as claim_ids."""
    return [Claim(*row) for row in await database.fetch(_SUSPECTS, who.consumer_id, limit, who.kinds)]
