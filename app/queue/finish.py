"""Finish: processing → completed, failed, or back to pending, by the holder of the claim alone (docs/protocol.md)."""

import json
from collections.abc import Sequence
from uuid import UUID

from app.core.task import Claim, TaskStatus
from app.db.engine import Database

_LONGEST_MESSAGE = 2_000

# The fence: each row is found by its id and locked in the order of ids, so that two batches over the same rows can't
# deadlock; after waiting for a lock PostgreSQL checks the condition again on the newest version of the row.
# Primary key: written IS TRUE, the condition can't be met by tasks_processing, which would be read once for each id.
_HELD = """
WITH held AS MATERIALIZED (
    SELECT mine.* FROM (SELECT * FROM unnest({mine}) AS mine ({columns}) ORDER BY id) AS mine
    CROSS JOIN LATERAL (
        SELECT FROM tasks
        WHERE tasks.id = mine.id AND tasks.claim_id = mine.claim_id AND (tasks.status = 'processing') IS TRUE
        FOR UPDATE
    ) AS locked
)
"""
_HELD_CLAIMS = _HELD.format(mine="$1::uuid[], $2::uuid[]", columns="id, claim_id")
_HELD_FAILURES = _HELD.format(mine="$1::uuid[], $2::uuid[], $3::text[]", columns="id, claim_id, error")

_COMPLETE = f"""
{_HELD_CLAIMS}
UPDATE tasks SET status = 'completed', updated_at = clock_timestamp()
FROM held WHERE tasks.id = held.id
RETURNING tasks.id
"""

_FAIL = f"""
{_HELD_FAILURES}
UPDATE tasks SET status = 'failed', error = held.error::jsonb || jsonb_build_object('at', clock_timestamp()),
    updated_at = clock_timestamp()
FROM held WHERE tasks.id = held.id
RETURNING tasks.id
"""

# Nothing went wrong with the task, so the attempt is given back; run_at stays, so it keeps its place.
_RELEASE = f"""
{_HELD_CLAIMS}
UPDATE tasks SET status = 'pending', attempt = attempt - 1, claim_id = NULL, consumer_id = NULL,
    updated_at = clock_timestamp()
FROM held WHERE tasks.id = held.id
RETURNING tasks.id
"""

# A terminal row under our own claim: our write took effect and its answer was lost on the way.
_ENDED_BY_US = """
SELECT tasks.id FROM tasks
JOIN unnest($1::uuid[], $2::uuid[]) AS mine (id, claim_id) ON tasks.id = mine.id
WHERE tasks.claim_id = mine.claim_id AND tasks.status = $3
"""


async def complete(database: Database, claims: Sequence[Claim]) -> set[UUID]:
    """Mark as completed; the ids of those that are. The rest was canceled or taken away meanwhile."""
    ids, claim_ids = _columns(claims)
    done = {row[0] for row in await database.fetch(_COMPLETE, ids, claim_ids)}
    return done if len(done) == len(claims) else done | await _ended(database, claims, TaskStatus.COMPLETED)


async def fail(database: Database, claims: Sequence[Claim], errors: Sequence[tuple[str, str]]) -> set[UUID]:
    """Mark as failed, each with its (code, message); the ids of those that are."""
    ids, claim_ids = _columns(claims)
    records = [
        json.dumps({"code": _storable(code), "message": _storable(message), "attempt": claim.attempt})
        for claim, (code, message) in zip(claims, errors, strict=True)
    ]
    done = {row[0] for row in await database.fetch(_FAIL, ids, claim_ids, records)}
    return done if len(done) == len(claims) else done | await _ended(database, claims, TaskStatus.FAILED)


def _storable(message: str) -> str:
    """Without what JSONB refuses, and not endless: whatever a handler said, its failure must be recorded."""
    return message[:_LONGEST_MESSAGE].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


async def release(database: Database, claims: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
    """Give (task id, claim id) back as pending; the ids of those that were still ours. No attempt is burnt."""
    ids, claim_ids = [c[0] for c in claims], [c[1] for c in claims]
    return {row[0] for row in await database.fetch(_RELEASE, ids, claim_ids)}


async def _ended(database: Database, claims: Sequence[Claim], status: TaskStatus) -> set[UUID]:
    return {row[0] for row in await database.fetch(_ENDED_BY_US, *_columns(claims), status)}


def _columns(claims: Sequence[Claim]) -> tuple[list[UUID], list[UUID]]:
    return [c.id for c in claims], [c.claim_id for c in claims]
