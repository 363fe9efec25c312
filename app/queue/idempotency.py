"""What Idempotency-Keys have made: kept in the transaction that makes it."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from app.core.errors import KeyReusedError
from app.core.idempotency import IdempotencyKey
from app.db.engine import Database

_AT_ONCE = 1_000  # keys deleted in one statement

# The first request of a key leaves its row, and makes what the row says. Any other waits for that one's COMMIT, makes
# nothing, and gets the row back: it is returned whoever wrote it, so that no second statement has to look for it, and
# none can delete it in between. Keys are sorted, so that two batches wait for one another in one direction only; none
# may be in there twice. A key that is older than `kept` is as good as new.
FIRST = """
first AS (
    INSERT INTO idempotency_keys AS kept (key, fingerprint, ids)
    SELECT key, fingerprint, ids::uuid[]
    FROM unnest(${key}::bytea[], ${fingerprint}::bytea[], ${ids}::text[]) AS new (key, fingerprint, ids) ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
        fingerprint = CASE WHEN {is_valid} THEN kept.fingerprint ELSE excluded.fingerprint END,
        ids = CASE WHEN {is_valid} THEN kept.ids ELSE excluded.ids END,
        created_at = CASE WHEN {is_valid} THEN kept.created_at ELSE excluded.created_at END
    RETURNING key, fingerprint, ids, created_at
)
"""

# Primary key.
_KNOWN = "SELECT key FROM idempotency_keys WHERE key = ANY($1::bytea[]) AND created_at > now() - $2::interval"

# Index idempotency_keys_age. A key that is just being used again is passed over, or is found to be young after all.
_FORGET = f"""
DELETE FROM idempotency_keys WHERE key IN (
    SELECT key FROM idempotency_keys WHERE created_at < now() - $1::interval
    ORDER BY created_at LIMIT {_AT_ONCE} FOR UPDATE SKIP LOCKED
)
RETURNING 1
"""


def first_cte(after: int) -> str:
    """FIRST with its four parameters behind the first `after` of a statement."""
    return FIRST.format(
        key=after + 1,
        fingerprint=after + 2,
        ids=after + 3,
        is_valid=f"kept.created_at > now() - ${after + 4}::interval",
    )


class Made(NamedTuple):
    """What a key is kept for: ids of what was made, with None for what was not, and when."""

    ids: Sequence[Any]
    created_at: datetime


def first_columns(
    keys: Iterable[tuple[IdempotencyKey, Iterable[UUID | str | None]]], kept: timedelta
) -> tuple[object, ...]:
    """The arguments of FIRST: keys, each with the ids of what it makes if it is the first."""
    rows = sorted((key.key, key.fingerprint, _array(ids)) for key, ids in keys)
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], kept


def made(row: asyncpg.Record, key: IdempotencyKey) -> Made:
    """What a row of FIRST says of its key. Raises KeyReusedError where it was another request's."""
    if row["fingerprint"] != key.fingerprint:
        raise KeyReusedError
    return Made(row["ids"], row["created_at"])


async def known_keys(database: Database, keys: Iterable[IdempotencyKey], kept: timedelta) -> set[bytes]:
    """Those of these keys that have made something: the same requests make nothing more."""
    return {row[0] for row in await database.fetch(_KNOWN, [key.key for key in keys], kept)}


async def forget(database: Database, kept: timedelta, seconds: float) -> bool:
    """Delete the keys that are older than this, in small batches, for so long at most; whether none is left."""
    end = time.monotonic() + seconds
    while len(await database.fetch(_FORGET, kept)) == _AT_ONCE:
        if time.monotonic() > end:
            return False
    return True


def _array(ids: Iterable[UUID | str | None]) -> str:
    return f"{{{','.join('NULL' if each is None else str(each) for each in ids)}}}"
