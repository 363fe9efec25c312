"""Pause: no consumer claims tasks of a paused queue's kinds. All else goes on: what runs, creates, cancels."""

from collections.abc import Sequence
from datetime import datetime

from app.db.engine import Database

# For claims and admissions, whoever makes them. The API that paused the queue says which kinds it has; a consumer that
# has others leaves them alone by the queue's name (queue/recover.py's look).
PAUSED_KINDS = "ARRAY(SELECT unnest(kinds) FROM queues WHERE paused_at IS NOT NULL)"
PAUSED_QUEUES = "ARRAY(SELECT name FROM queues WHERE paused_at IS NOT NULL)"

# Pausing again leaves the time as it was. Primary key.
_SET = """
INSERT INTO queues AS old (name, kinds, paused_at) VALUES ($1, $2, CASE WHEN $3 THEN clock_timestamp() END)
ON CONFLICT (name) DO UPDATE SET kinds = excluded.kinds,
    paused_at = CASE WHEN $3 THEN coalesce(old.paused_at, excluded.paused_at) END
"""
_READ = "SELECT name, paused_at FROM queues WHERE paused_at IS NOT NULL"


async def set_paused(database: Database, name: str, kinds: Sequence[str], *, is_paused: bool) -> None:
    """Pause or resume the queue that has these kinds. Claims whose statement began before may still commit."""
    await database.fetch(_SET, name, kinds, is_paused)


async def read_paused(database: Database) -> dict[str, datetime]:
    """The queues that are paused, and since when."""
    return {row[0]: row[1] for row in await database.fetch(_READ)}
