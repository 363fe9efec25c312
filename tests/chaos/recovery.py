"""What became of the tasks that a consumer held when it ended or froze, by PostgreSQL's own record."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from tests.chaos.scene import LEASE_SECONDS, SWEEP_SECONDS
from tests.support.types import Connection
from tests.support.waiting import until

MEASURE_SECONDS = 0.5  # from one process to another, on a busy machine
_LOOK_SECONDS = 0.05
_HOLD_SECONDS = 2.0
BOUND_SECONDS = LEASE_SECONDS + SWEEP_SECONDS + MEASURE_SECONDS

# Each way out of `processing`, beside the way in. Kinds that may fail and be tried again are left out of `is_burnt`.
_LEFT = """
SELECT audit.task::text, gone.consumer::text, extract(epoch FROM audit.at)::float8 - gone.at, audit.new,
    audit.lost_count > claimed.lost_count,
    audit.new = 'pending' AND audit.lost_count = claimed.lost_count AND audit.attempt >= claimed.attempt
        AND tasks.kind IN ('chaos_noop', 'chaos_sleep', 'chaos_block', 'chaos_block_in_child')
FROM unnest($1::uuid[], $2::float8[]) AS gone (consumer, at)
JOIN audit ON audit.old_consumer = gone.consumer AND audit.old = 'processing'
JOIN audit AS claimed ON claimed.claim = audit.old_claim AND claimed.old = 'pending' AND claimed.new = 'processing'
JOIN tasks ON tasks.id = audit.task
WHERE extract(epoch FROM audit.at) > gone.at
"""
_HELD = "SELECT count(*) FROM tasks WHERE status = 'processing' AND consumer_id = ANY($1::uuid[])"
_FAILED = """
SELECT id::text FROM tasks WHERE status = 'failed' AND error ->> 'code' = 'consumer_lost' AND kind <> 'chaos_poison'
ORDER BY id
"""


class Gone(NamedTuple):
    """A consumer that can do nothing more from this time on."""

    consumer: str
    at: float


class Left(NamedTuple):
    """A task that left `processing` after its consumer had gone, and so many seconds after that."""

    task: str
    consumer: str
    seconds: float
    status: str  # what it became
    is_lost: bool  # taken away by a recovery
    is_burnt: bool  # pending again, with one attempt less


@dataclass(frozen=True, slots=True)
class Recovery:
    """Of all tasks that the gone have held."""

    left: Sequence[Left]
    held: int  # still

    @property
    def seconds(self) -> list[float]:
        """Of those that were recovered."""
        return [task.seconds for task in self.left if task.is_lost]

    def violations(self, lateness: float) -> list[str]:
        """What took longer than a lease and a sweep, on a machine where whoever measured was late by so much."""
        late = [
            f"task {task.task} of consumer {task.consumer} was recovered after {task.seconds:.2f} s"
            for task in self.left
            if task.is_lost and task.seconds > BOUND_SECONDS + lateness
        ]
        return late + ([f"{self.held} tasks are still held by consumers that are gone"] if self.held else [])


async def held_by(sql: Connection, consumers: Collection[str]) -> int:
    """How many tasks are processing under these."""
    return int(await sql.fetchval(_HELD, list(consumers)))


async def all_hold(sql: Connection, consumers: Collection[str]) -> None:
    """Wait until each of these holds a task, or for a while: what holds nothing can't do much harm."""
    with suppress(AssertionError):
        await until(lambda: _each_holds(sql, consumers), _HOLD_SECONDS)


async def _each_holds(sql: Connection, consumers: Collection[str]) -> bool:
    return all([await held_by(sql, [consumer]) for consumer in consumers])


async def recovery(sql: Connection, gone: Sequence[Gone]) -> Recovery:
    """What became of their tasks so far."""
    # Nobody has counted what is in `audit`, and it has no index: row by row this would take minutes.
    await sql.execute("SET enable_nestloop = off")
    rows = await sql.fetch(_LEFT, [each.consumer for each in gone], [each.at for each in gone])
    await sql.execute("RESET enable_nestloop")
    return Recovery([Left(*row) for row in rows], await held_by(sql, [each.consumer for each in gone]))


async def innocents_failed(sql: Connection) -> list[str]:
    """Tasks that were given up as lost, though they kill nobody."""
    return [f"task {row[0]} failed as consumer_lost" for row in await sql.fetch(_FAILED)]


@asynccontextmanager
async def watched_lateness() -> AsyncIterator[list[float]]:
    """How late this process was, at most, for what it wanted to do within the block: the only number in the list.

    On a machine that is too busy others are as late, and no bound of theirs says anything.
    """
    most = [0.0]

    async def watch() -> None:
        while True:
            due = time.monotonic() + _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            most[0] = max(most[0], time.monotonic() - due)

    watching = asyncio.create_task(watch())
    try:
        yield most
    finally:
        watching.cancel()


def in_words(seconds: Collection[float]) -> str:
    """Their spread."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, at most {ordered[-1]:.2f} s"
