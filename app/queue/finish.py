"""Finish: processing → completed, failed, or back to pending, by the holder of the claim alone (docs/protocol.md)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from app.core.errors import RejectedRowError
from app.core.task import Claim, ErrorCode, TaskStatus
from app.db.engine import Database
from app.queue.callback import DELIVERY, TELL

_LONGEST_MESSAGE = 2_000
# A time inside of JSON, as all times are told.
AT = """to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
# Of a task's earlier errors, as many as leave room for one more.
HISTORY = "CASE WHEN jsonb_array_length(history) >= 20 THEN history - 0 ELSE coalesce(history, '[]') END"


def of_row(number: int, kind: str) -> str:
    """The element of parameter `number`, an array, that belongs to the row's claim: its place is the claim's in $2.

    Not that of the id: a batch may also hold what an earlier claim of the same task has to say.
    """
    return f"(${number}::{kind}[])[array_position($2::uuid[], tasks.claim_id)]"


# Hashed: written IS TRUE it is no join.
_IS_OURS = "((tasks.id, tasks.claim_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))) IS TRUE"

# The fence: the rows are locked as the primary key gives them, in the order of ids, so that two batches over the same
# rows can't deadlock; after waiting for a lock PostgreSQL checks the condition again on the newest version of the row.
# Written IS TRUE, it can't be met by tasks_processing. No join: docs/decisions/0003.
HELD = f"""
tasks.id = ANY($1::uuid[]) AND {_IS_OURS} AND (tasks.status = 'processing') IS TRUE
"""

LEFT = "tasks.id, tasks.kind, tasks.priority, tasks.concurrency_key, tasks.group_id"
# Of a CTE that has those, and callback.py's DELIVERY.
LEFT_ENDED = "id, kind, priority, concurrency_key, group_id, delivery_id"

_COMPLETE = f"""
UPDATE tasks SET status = 'completed', result = {of_row(3, "text")}::json, finished_at = clock_timestamp(),
    version = version + 1, updated_at = clock_timestamp()
WHERE {HELD}
RETURNING {LEFT}
"""
# Where one of them has a callback. A batch of one that has none would take a fifth longer by it (of 500: 1 %).
_COMPLETE_AND_TELL = f"""
WITH ended AS (
    {_COMPLETE}, {DELIVERY}
), {TELL.format(ended="ended")}
SELECT {LEFT_ENDED} FROM ended
"""

# A group is marked in the statement that fails its member, so that the others are canceled whatever dies next: once,
# and in the order of ids, so that two batches can't deadlock. `failed`: a CTE before it.
MARK_GROUPS = """
marked AS (
    UPDATE groups SET failed_at = clock_timestamp()
    WHERE id = ANY(ARRAY(SELECT group_id FROM failed WHERE group_id IS NOT NULL))
        AND on_failure = 'cancel_rest' AND failed_at IS NULL
)
"""
_ERROR = f"{of_row(3, 'text')}::jsonb"
_FAIL = f"""
WITH failed AS (
    UPDATE tasks SET status = 'failed', error = {_ERROR} || jsonb_build_object('at', {AT}),
        finished_at = clock_timestamp(), version = version + 1, updated_at = clock_timestamp()
    WHERE {HELD}
    RETURNING {LEFT}, {DELIVERY}
), {MARK_GROUPS}, {TELL.format(ended="failed")}
SELECT {LEFT_ENDED} FROM failed
"""

# Keeps its claim id, which tells a lost answer from a lost claim.
_RETRY = f"""
UPDATE tasks SET status = 'pending', consumer_id = NULL, run_at = clock_timestamp() + {of_row(4, "interval")},
    is_blocked = concurrency_key IS NOT NULL, version = version + 1, updated_at = clock_timestamp(),
    history = {HISTORY} || jsonb_build_array({_ERROR} || jsonb_build_object('at', {AT}))
WHERE {HELD}
RETURNING {LEFT}
"""

_SNOOZE = f"""
UPDATE tasks SET status = 'pending', attempt = attempt - 1, consumer_id = NULL, run_at = {of_row(3, "timestamptz")},
    is_blocked = concurrency_key IS NOT NULL, version = version + 1, updated_at = clock_timestamp()
WHERE {HELD}
RETURNING {LEFT}
"""

# Nothing went wrong with the task, so the attempt is given back; run_at stays, so it keeps its place.
_RELEASE = f"""
UPDATE tasks SET status = 'pending', attempt = attempt - 1, claim_id = NULL, consumer_id = NULL,
    is_blocked = concurrency_key IS NOT NULL, version = version + 1, updated_at = clock_timestamp()
WHERE {HELD}
RETURNING {LEFT}
"""

# What our write would have made of it, under our own claim: it took effect, and its answer was lost on the way.
_WRITTEN_BY_US = f"""
SELECT {LEFT} FROM tasks WHERE tasks.id = ANY($1::uuid[]) AND {_IS_OURS} AND tasks.status = $3
"""


class Left(NamedTuple):
    """A task that has left `processing`, and what waits for that: others with its key, its group, and its callback."""

    id: UUID
    kind: str
    priority: int
    concurrency_key: str | None
    group_id: UUID | None
    delivery_id: UUID | None = None  # of the task that tells its end


Written = Mapping[UUID, Left]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    code: ErrorCode
    message: str


async def complete(database: Database, claims: Sequence[Claim], results: Sequence[str | None]) -> Written:
    """Mark as completed, each with the JSON text of its result; those that are.

    The rest was canceled or taken away meanwhile. Raises DatabaseUnavailableError, and RejectedRowError, after which
    none of them is.
    """
    statement = _COMPLETE_AND_TELL if any(claim.has_callback for claim in claims) else _COMPLETE
    return await _write(database, statement, claims, TaskStatus.COMPLETED, results)


async def fail(database: Database, claims: Sequence[Claim], failures: Sequence[Failure]) -> Written:
    """Mark as failed; as complete."""
    return await _write(database, _FAIL, claims, TaskStatus.FAILED, _records(claims, failures))


async def retry_at(
    database: Database, claims: Sequence[Claim], failures: Sequence[Failure], delays: Sequence[timedelta]
) -> Written:
    """Back to pending after a failed attempt, due after a delay from now; as complete."""
    return await _write(database, _RETRY, claims, TaskStatus.PENDING, _records(claims, failures), delays)


async def snooze(database: Database, claims: Sequence[Claim], until: Sequence[datetime]) -> Written:
    """Back to pending until then, and the attempt did not count; as complete."""
    return await _write(database, _SNOOZE, claims, TaskStatus.PENDING, until)


async def release(database: Database, claims: Sequence[tuple[UUID, UUID]]) -> list[Left]:
    """Give (task id, claim id) back as pending; those that were still ours. No attempt is burnt."""
    ids, claim_ids = [c[0] for c in claims], [c[1] for c in claims]
    return [Left(*row) for row in await database.fetch(_RELEASE, ids, claim_ids)]


async def _write(
    database: Database, statement: str, claims: Sequence[Claim], status: TaskStatus, *columns: Sequence[Any]
) -> Written:
    ids, claim_ids = [c.id for c in claims], [c.claim_id for c in claims]
    try:
        rows = await database.fetch(statement, ids, claim_ids, *columns)
    except (asyncpg.DataError, asyncpg.ProgramLimitExceededError) as error:  # classes 22 and 54
        raise RejectedRowError(f"PostgreSQL refuses what is to be recorded: {error}") from error
    if len(rows) < len(claims):
        rows = [*rows, *await database.fetch(_WRITTEN_BY_US, ids, claim_ids, status)]
    return {row[0]: Left(*row) for row in rows}


def _records(claims: Sequence[Claim], failures: Sequence[Failure]) -> list[str]:
    return [
        json.dumps({"code": failure.code, "message": _storable(failure.message), "attempt": claim.attempt})
        for claim, failure in zip(claims, failures, strict=True)
    ]


def _storable(message: str) -> str:
    """Without what JSONB refuses, and not endless: whatever a handler said, its failure must be recorded."""
    return message[:_LONGEST_MESSAGE].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
