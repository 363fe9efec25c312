"""What some consumer has to do for all of them: recovery, ticks, and quarantine for suspects (docs/protocol.md)."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import timedelta

from app.consumer.executor import Executor
from app.consumer.heartbeat import Lease
from app.consumer.quarantine_pool import QuarantinePool
from app.consumer.run import StopReason
from app.core.config import Settings
from app.core.errors import DatabaseBusyError, DatabaseUnavailableError
from app.core.events import Emit, TaskFailed, TasksRecovered, TasksReleased
from app.db.engine import Database
from app.queue.admit import KeySweep
from app.queue.counts import fold_counts
from app.queue.finish import release
from app.queue.follow_up import FollowUp
from app.queue.idempotency import forget
from app.queue.recover import Look, held_rows, look, recover
from app.queue.settle import GroupSweep
from app.queue.tick import Ticker
from app.queue.wakeup import Wakeup

FORGET_SECONDS = 600.0  # between two looks for Idempotency-Keys that are too old
_FORGET_AT_ONCE_SECONDS = 0.5  # of what else is to be swept


class Reconciler:
    """Once a beat, compares what this process runs with the rows that say so."""

    def __init__(self, database: Database, follow_up: FollowUp, executor: Executor, lease: Lease, emit: Emit) -> None:
        self._database = database
        self._follow_up = follow_up
        self._executor = executor
        self._lease = lease
        self._emit = emit

    async def reconcile(self) -> None:
        """Stop handlers whose rows are no longer ours; release rows that are ours and that nobody runs.

        The first is what a cancel comes down to when its message is lost; the second is what becomes of a claim that
        was committed and whose answer was lost.
        """
        if self._lease.is_settled:
            return
        async with self._lease.claiming:
            before = list(self._executor.runs.values())
            rows = await held_rows(self._database, self._lease.consumer_id)
            unheld = [
                (task_id, claim_id)
                for task_id, claim_id in rows.items()
                if (run := self._executor.runs.get(task_id)) is None or run.claim.claim_id != claim_id
            ]
            self._lease.is_settled = not before and not rows and time.monotonic() > self._lease.doubt_until
        for run in before:
            if rows.get(run.claim.id) != run.claim.claim_id:
                self._executor.stop(run, StopReason.CANCELED)
        if unheld:
            released = await release(self._database, unheld)  # a run that ended meanwhile no longer matches
            if released:
                self._follow_up.pending_again(released)
                self._emit(TasksReleased([task.id for task in released], "claimed here, but the answer was lost"))


class Sweeper:
    """Takes back the tasks of dead consumers, makes those of schedules, and has suspects run on their own."""

    def __init__(
        self,
        database: Database,
        wakeup: Wakeup,
        follow_up: FollowUp,
        kinds: Sequence[str],
        lease: Lease,
        settings: Settings,
        emit: Emit,
        quarantines: QuarantinePool,
        on_paused: Callable[[Collection[str]], None],
    ) -> None:
        """`on_paused` is told the queues that are paused, at each round."""
        self._database = database
        self._wakeup = wakeup
        self._follow_up = follow_up
        self._kinds = kinds
        self._on_paused = on_paused
        self._lease = lease
        self._settings = settings
        self._emit = emit
        self._ticker = Ticker(database, wakeup, emit)
        self._keys = KeySweep(database)
        self._groups = GroupSweep(database, follow_up.settle)
        self._forget_at = time.monotonic() + random.uniform(0, FORGET_SECONDS)  # noqa: S311 - spreads load
        self._quarantines = quarantines

    async def sweep(self) -> None:
        """One round."""
        found = await self._look()
        self._on_paused(found.paused_queues)
        for is_due, stage in (
            (found.has_ticks, self._ticker.tick),  # first: a tick can come too late, and recovery may have to wait
            (found.has_dead, self._recover),
            (found.has_suspects, self._quarantines.start_one),
            (found.has_blocked, self._admit),
            (found.has_open_groups, self._groups.sweep),
            (found.has_deltas, self._fold),
        ):
            if is_due:
                with suppress(DatabaseUnavailableError):  # one that has to wait for too long keeps back no other
                    await stage()

        if time.monotonic() >= self._forget_at:
            kept = timedelta(hours=self._settings.idempotency_hours)
            with suppress(DatabaseUnavailableError):
                if await forget(self._database, kept, _FORGET_AT_ONCE_SECONDS):
                    self._forget_at = time.monotonic() + FORGET_SECONDS

    async def _look(self) -> Look:
        """What is to be done. What keeps a look from PostgreSQL may keep others' beats, though ours gets through.

        As where it is out of connections, and the last ones are those of some of the heartbeats.
        """
        try:
            await self._quarantines.keep_starting()
            return await look(self._database, self._settings.lease_seconds, self._kinds)
        except DatabaseBusyError:
            raise
        except DatabaseUnavailableError:
            self._lease.troubled_at = time.monotonic()
            raise

    async def _admit(self) -> None:
        self._wakeup.push(await self._keys.sweep())

    async def _fold(self) -> None:
        await fold_counts(self._database)

    async def _recover(self) -> None:
        lease_seconds = self._settings.lease_seconds
        is_untroubled = time.monotonic() - self._lease.troubled_at > lease_seconds
        recovered = await recover(
            self._database, lease_seconds if is_untroubled else None, max_lost=self._settings.max_lost
        )
        if recovered.pending:
            self._follow_up.pending_again(recovered.pending)
            self._emit(TasksRecovered([task.id for task in recovered.pending]))
        for task in recovered.failed:
            self._emit(TaskFailed(task.id, "consumer_lost", "its consumer died too often"))
        self._follow_up.left(recovered.failed)


async def every(seconds: float, lease: Lease, job: Callable[[], Awaitable[None]]) -> None:
    """Do the job again and again while the lease is held; PostgreSQL being away only skips a round."""
    while True:
        await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load
        await lease.held.wait()
        with suppress(DatabaseUnavailableError):  # the fetcher has said so
            await job()
