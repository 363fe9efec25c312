"""What is told of queues besides counts: the oldest task that waits, and the consumers that are there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.db.engine import Database

# Index tasks_due: the first entry for each kind and priority, and no more.
_OLDEST = """
SELECT wanted.kind, extract(epoch FROM now() - min(first.run_at))::float8
FROM (SELECT * FROM unnest($1::text[]) AS kind CROSS JOIN unnest(ARRAY[0, 1, 2]::smallint[]) AS priority) AS wanted
CROSS JOIN LATERAL (
    SELECT run_at FROM tasks
    WHERE status = 'pending' AND NOT is_blocked AND kind = wanted.kind AND priority = wanted.priority
        AND run_at <= now()
    ORDER BY run_at LIMIT 1
) AS first
GROUP BY wanted.kind
"""

# All of a small table. Who has not beaten for a lease is as good as gone.
LIVE_CONSUMERS = """
SELECT id, host, pid, kinds, started_at, beat_at FROM consumers
WHERE kinds <> '{}' AND beat_at >= clock_timestamp() - $1::interval
ORDER BY started_at, id
"""


@dataclass(frozen=True, slots=True)
class LiveConsumer:
    """A consumer that holds a lease, and the kinds that it serves."""

    id: UUID
    host: str
    pid: int
    kinds: Sequence[str]
    started_at: datetime
    beat_at: datetime


async def read_oldest(database: Database, kinds: Sequence[str]) -> dict[str, float]:
    """Of each of these kinds that has a task which could be claimed now: seconds since the oldest came due."""
    return {row[0]: row[1] for row in await database.fetch(_OLDEST, kinds)}


async def live_consumers(database: Database, lease_seconds: float) -> list[LiveConsumer]:
    """Those whose last beat is not older than a lease; without quarantine consumers, which serve suspects only."""
    return [LiveConsumer(*row) for row in await database.fetch(LIVE_CONSUMERS, timedelta(seconds=lease_seconds))]
