"""What became of the tasks that a consumer held when it ended or froze, by PostgreSQL's own record."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.lateness import Lateness
from tests.chaos.scene import LEASE_SECONDS, SWEEP_SECONDS
from tests.chaos.spread import spread
from tests.support.types import Connection
from tests.support.waiting import until

MEASURE_SECONDS = 0.5  # from one process to another, on a busy machine
STATEMENT_SECONDS = 1.0  # that a dead process has sent, until PostgreSQL has done it
_MOST_EXCUSED_SECONDS = 2 * LEASE_SECONDS
BOUND_SECONDS = LEASE_SECONDS + SWEEP_SECONDS + MEASURE_SECONDS
IN_TIME = f"recovered within lease + 1 sweep + {MEASURE_SECONDS:g} s to measure, from when the machine was last late"

# Each way out of `processing`, beside the way in. Kinds that may fail and be tried again are left out of `is_burnt`.
_LEFT = """
SELECT audit.task::text, gone.consumer::text, extract(epoch FROM audit.at)::float8 - gone.at, audit.new,
    audit.lost_count > claimed.lost_count,
    audit.new = 'pending' AND audit.lost_count = claimed.lost_count AND audit.attempt >= claimed.attempt
        AND tasks.kind IN ('chaos_noop', 'chaos_sleep', 'chaos_block', 'chaos_block_in_child'),
    audit.new = 'pending' AND audit.lost_count = claimed.lost_count AND audit.attempt < claimed.attempt
FROM unnest($1::uuid[], $2::float8[]) AS gone (consumer, at)
JOIN audit ON audit.old_consumer = gone.consumer AND audit.old = 'processing'
JOIN audit AS claimed ON claimed.claim = audit.old_claim AND claimed.old = 'pending' AND claimed.new = 'processing'
JOIN tasks ON tasks.id = audit.task
WHERE extract(epoch FROM audit.at) > gone.at
"""
_LIVE = "SELECT count(*) FROM tasks WHERE id = ANY($1::uuid[]) AND status IN ('pending', 'processing')"
_HELD = "SELECT count(*) FROM tasks WHERE status = 'processing' AND consumer_id = ANY($1::uuid[])"
# When the consumer was declared dead; and of each other that lived until $3 seconds later, and had not gone ($4), the
# longest time without a beat.
_LEASES = """
WITH beats AS (
    SELECT consumer, at, lead(at, 1, to_timestamp($2::float8 + $3)) OVER (PARTITION BY consumer ORDER BY at) AS next
    FROM leases
    WHERE at <= to_timestamp($2::float8 + $3) AND consumer <> ALL($4::uuid[])
        AND consumer NOT IN (SELECT consumer FROM leases WHERE is_over AND at <= to_timestamp($2::float8 + $3))
)
SELECT (SELECT extract(epoch FROM min(at))::float8 - $2 FROM leases WHERE consumer = $1 AND is_over),
    ARRAY(
        SELECT max(extract(epoch FROM next - at))::float8 FROM beats WHERE next >= to_timestamp($2)
        GROUP BY consumer ORDER BY 1
    )
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
    is_burnt: bool  # pending again, and an attempt is used up
    is_released: bool  # pending again, with as many attempts left as before

    @property
    def is_under_way(self) -> bool:
        """Whether only its own consumer can have written that, before it had gone."""
        return not self.is_lost and self.status != "canceled"


@dataclass(frozen=True, slots=True)
class Recovery:
    """Of all tasks that the gone have held."""

    gone: Sequence[Gone]
    left: Sequence[Left]
    held: int  # still
    leases: Mapping[str, str] = field(default_factory=dict)  # what they tell of consumers whose tasks were late

    @property
    def seconds(self) -> list[float]:
        """Of those that were recovered."""
        return [task.seconds for task in self.left if task.is_lost]

    @property
    def facts(self) -> dict[str, str]:
        """In words: all that was held, and what became of it, so that the figures add up."""
        slow = sum(seconds > LEASE_SECONDS + SWEEP_SECONDS for seconds in self.seconds)
        slower = sum(seconds > BOUND_SECONDS for seconds in self.seconds)
        times = f"{spread(self.seconds)}; {slow} after lease + 1 sweep, {slower} of them by more than is for measuring"
        others = Counter(_way(task.status) for task in self.left if not task.is_lost)
        under_way = [task.seconds for task in self.left if task.is_under_way]
        if self.held:
            others["held by them still"] = self.held
        return {
            "tasks held at that moment": str(len(self.left) + self.held),
            "of these recovered": f"{len(self.seconds)} ({times})",
            "and not": ", ".join(f"{count} {way}" for way, count in others.most_common()) or "none",
            "statements that were under way took": spread(under_way),
        }

    def violations(self, lateness: Lateness) -> list[str]:
        """What took longer than a lease and a sweep; after trouble of the machine's, counted from the end of that.

        Whoever had trouble with his own beats holds nobody's silence against him for a lease: decision 0002.
        """
        gone_at = dict(self.gone)
        late = [
            f"task {task.task} became {task.status} {task.seconds:.2f} s after its consumer {task.consumer} had gone"
            for task in self.left
            if task.is_under_way
            and task.seconds - lateness.within(gone_at[task.consumer], gone_at[task.consumer] + task.seconds)
            > STATEMENT_SECONDS
        ]
        late += [
            f"task {task.task} of consumer {task.consumer} was recovered after {task.seconds:.2f} s"
            f"{self.leases.get(task.consumer, '')}"
            for task in self.left
            if task.is_lost
            and task.seconds > BOUND_SECONDS
            and task.seconds - _excused(gone_at[task.consumer], task.seconds, lateness) > BOUND_SECONDS
        ]
        return late + ([f"{self.held} tasks are still held by consumers that are gone"] if self.held else [])


def _excused(gone_at: float, seconds: float, lateness: Lateness) -> float:
    """Seconds of it: two spells of trouble, one after the other, explain that much, and nothing explains more."""
    trouble = lateness.trouble(gone_at, gone_at + seconds) - gone_at
    return min(max(lateness.within(gone_at, gone_at + seconds), trouble), _MOST_EXCUSED_SECONDS)


def _way(status: str) -> str:
    """Out of `processing`, not by a recovery."""
    return "canceled meanwhile" if status == "canceled" else f"{status} by a statement that was under way"


async def held_by(sql: Connection, consumers: Collection[str]) -> int:
    """How many tasks are processing under these."""
    return int(await sql.fetchval(_HELD, list(consumers)))


async def ended(sql: Connection, ids: Collection[str], seconds: float, what: str) -> None:
    """Wait for the ends of these tasks. Raises AssertionError when they do not come in time."""

    async def fact() -> bool:
        return not await sql.fetchval(_LIVE, list(ids))

    await until(fact, seconds, 0.1, f"{what} have ended")


async def recovery(sql: Connection, gone: Sequence[Gone]) -> Recovery:
    """What became of their tasks so far."""
    # Nobody has counted what is in `audit`, and it has no index: row by row this would take minutes.
    await sql.execute("SET enable_nestloop = off")
    rows = await sql.fetch(_LEFT, [each.consumer for each in gone], [each.at for each in gone])
    await sql.execute("RESET enable_nestloop")
    left, gone_at = [Left(*row) for row in rows], dict(gone)
    late = sorted((task for task in left if task.is_lost and task.seconds > BOUND_SECONDS), key=lambda one: one.seconds)
    slowest = {task.consumer: task.seconds for task in late}
    leases = {who: await _told(sql, Gone(who, gone_at[who]), seconds, gone) for who, seconds in slowest.items()}
    return Recovery(gone, left, await held_by(sql, list(gone_at)), leases)


async def _told(sql: Connection, one: Gone, seconds: float, gone: Sequence[Gone]) -> str:
    """What the leases tell of a late recovery. Whoever had a late beat of his own buries nobody for a lease."""
    others = [each.consumer for each in gone if each.at <= one.at + seconds]
    dead_after, silences = (await sql.fetch(_LEASES, one.consumer, one.at, seconds, others))[0]
    declared = "never declared dead" if dead_after is None else f"declared dead after {dead_after:.2f} s"
    silent = ", ".join(f"{longest:.2f}" for longest in silences) or "none"
    return f" ({declared}; the longest times without a beat, of each that lived meanwhile: {silent} s)"
