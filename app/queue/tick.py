"""Tick: a schedule that is due gets its task and its next tick, in one transaction (docs/schedules.md)."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from app.core.errors import InvalidScheduleError
from app.core.events import Emit, Event, ScheduleTicked, ScheduleUnreadable, TicksMissed
from app.core.recurrence import Recurrence
from app.core.schedule import Due, Missed, due
from app.core.task import Hint, Priority
from app.db.engine import Database
from app.queue.wakeup import Wakeup

_BATCH = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Index schedules_due. Whose turn it is, by PostgreSQL's clock: those of hosts may be off. Nobody waits for a row that
# is locked: another consumer is making its tick, or a client is changing it, and the next sweep looks again.
_DUE = """
SELECT name, id, cron, timezone, missed, kind, next_run_at, now() FROM schedules
WHERE enabled AND next_run_at <= now() AND name <> ALL($1::text[])
ORDER BY next_run_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""

# Primary keys (written IS TRUE, the condition can't be met by schedules_due). A tick is made by whoever moves
# next_run_at past it, and the task's id says which tick it is: so none has two tasks, not even when next_run_at is set
# back by hand.
_TICK = """
WITH ticked AS (
    UPDATE schedules SET next_run_at = new.next_run_at,
        last_run_at = coalesce(new.last_run_at, schedules.last_run_at),
        last_task_id = coalesce(new.last_task_id, schedules.last_task_id)
    FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::uuid[])
        AS new (name, id, was, next_run_at, last_run_at, last_task_id)
    WHERE schedules.name = new.name AND schedules.id = new.id AND schedules.next_run_at = new.was
        AND schedules.enabled IS TRUE
    RETURNING schedules.id, schedules.kind, schedules.content
)
INSERT INTO tasks (id, kind, content, run_at)
SELECT tick.task_id, ticked.kind, ticked.content, tick.at
FROM unnest($7::uuid[], $8::uuid[], $9::timestamptz[]) AS tick (schedule_id, task_id, at)
JOIN ticked ON ticked.id = tick.schedule_id
ON CONFLICT (id) DO NOTHING
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class _Turn:
    """A schedule whose turn it is, and what there is to do."""

    name: str
    id: UUID
    kind: str
    was: datetime
    due: Due

    @property
    def tasks(self) -> list[tuple[UUID, datetime]]:
        """The ids of the tasks, and their ticks."""
        return [(task_id(self.id, tick), tick) for tick in self.due.ticks]


class Ticker:
    """Makes the tasks of schedules. Any number of them may run at once, whatever kinds their consumers serve."""

    def __init__(self, database: Database, wakeup: Wakeup, emit: Emit) -> None:
        self._database = database
        self._wakeup = wakeup
        self._emit = emit
        self._unreadable: set[str] = set()

    async def tick(self) -> None:
        """Make every tick that is due. Raises DatabaseUnavailableError: what was not committed is due again."""
        unreadable: dict[str, str] = {}
        while await self._tick_batch(unreadable) == _BATCH:
            pass
        for name in unreadable.keys() - self._unreadable:
            self._emit(ScheduleUnreadable(name, unreadable[name]))
        self._unreadable = set(unreadable)

    async def _tick_batch(self, unreadable: dict[str, str]) -> int:
        async with self._database.connection() as connection, connection.transaction():
            rows = await connection.fetch(_DUE, list(unreadable), _BATCH)
            turns = list(_turns(rows, unreadable))
            made = {row[0] for row in await connection.fetch(_TICK, *_arguments(turns))} if turns else set()
        # Strictly after the COMMIT; the rows are the outbox.
        self._wakeup.push(
            [Hint(task, turn.kind, Priority.NORMAL) for turn in turns for task, _ in turn.tasks if task in made]
        )
        for turn in turns:
            for event in _events(turn, made):
                self._emit(event)
        return len(rows)


def _turns(rows: Iterable[asyncpg.Record], unreadable: dict[str, str]) -> Iterator[_Turn]:
    """What there is to do. A schedule that this release can't read waits for one that can, and holds up no other."""
    for name, schedule_id, cron, timezone, missed, kind, was, now in rows:
        try:
            todo = due(Recurrence(cron, timezone), was, now, Missed(missed))
        except (InvalidScheduleError, ValueError, OverflowError) as error:  # or a time before all calendars
            unreadable[name] = str(error)
        else:
            yield _Turn(name, schedule_id, kind, was, todo)


def task_id(schedule_id: UUID, tick: datetime) -> UUID:
    """The id of the tick's task: always the same one.

    In the form of a UUID version 7 at the tick's time, so that it lands where new rows do; the rest is a hash of both.
    """
    microseconds = (tick - _EPOCH) // timedelta(microseconds=1)
    digest = hashlib.sha256(schedule_id.bytes + microseconds.to_bytes(8, "big")).digest()
    bits = int.from_bytes(digest[:10], "big") & ~(0xF << 76) & ~(0b11 << 62)
    return UUID(int=microseconds // 1000 << 80 | 7 << 76 | bits | 0b10 << 62)


def _arguments(turns: Sequence[_Turn]) -> tuple[list[object], ...]:
    tasks = [(turn.id, task, tick) for turn in turns for task, tick in turn.tasks]
    last: list[tuple[UUID, datetime] | tuple[None, None]] = [
        turn.tasks[-1] if turn.tasks else (None, None) for turn in turns
    ]
    return (
        [turn.name for turn in turns],
        [turn.id for turn in turns],
        [turn.was for turn in turns],
        [turn.due.next_run_at for turn in turns],
        [tick for _, tick in last],
        [task for task, _ in last],
        [schedule for schedule, _, _ in tasks],
        [task for _, task, _ in tasks],
        [tick for _, _, tick in tasks],
    )


def _events(turn: _Turn, made: set[UUID]) -> Iterator[Event]:
    if turn.due.missed is not None:
        first, last = turn.due.missed
        yield TicksMissed(turn.name, first.isoformat(), last.isoformat())
    for task, tick in turn.tasks:
        if task in made:
            yield ScheduleTicked(turn.name, task, tick.isoformat())
