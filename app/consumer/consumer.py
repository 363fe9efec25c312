"""One consumer process: start, run, drain."""

import asyncio
import os
import socket
import time
from collections.abc import Collection, Sequence
from uuid import UUID, uuid4

from app.consumer.children import ChildPool
from app.consumer.executor import Executor
from app.consumer.fetch import Fetcher
from app.consumer.heartbeat import Heartbeat, Lease
from app.consumer.lane import make_lanes
from app.consumer.maintenance import Reconciler, Sweeper, every
from app.consumer.pruner import Pruner
from app.consumer.quarantine import QuarantineFetcher
from app.consumer.recorder import Recorder
from app.consumer.run import StopReason
from app.consumer.tools import Toolbox
from app.consumer.watchdog import Watchdog
from app.core.config import Settings
from app.core.errors import ConsumerDeclaredDeadError, DatabaseUnavailableError
from app.core.events import (
    ConsumerDraining,
    ConsumerStarted,
    ConsumerStopped,
    Emit,
    LeaseLapsed,
    LeaseLost,
    LeaseRegained,
    StopIncomplete,
)
from app.core.outage import Outage
from app.core.retention import Retention
from app.core.schedule import NewSchedule
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.finish import release
from app.queue.follow_up import FollowUp
from app.queue.recover import register, unregister
from app.queue.schedule import declare_schedules
from app.queue.wakeup import Wakeup, stay_subscribed

_RETRY_PAUSE_SECONDS = 0.5
_STATEMENT_SECONDS = 10.0  # nobody waits for an answer; a server this slow is better waited for than asked again
_STOP_SECONDS = 3.0  # for handlers to end once they are stopped; and again, for what they leave to be written
_LONGEST_SWEEP_SECONDS = 10.0  # a tick that nobody has seen for a minute counts as missed
_QUARANTINE_SECONDS = 1.0  # it was told when we were, and has the same bounds


class StopRequest:
    """What signal handlers set, and nothing else."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.now = asyncio.Event()

    def __call__(self) -> None:
        """First call: drain. Second: stop now."""
        (self.now if self.drain.is_set() else self.drain).set()


class Consumer:
    """Claims tasks and runs them until it is told to stop.

    A quarantine consumer runs suspects (tasks that were lost with their consumers) one at a time, and ends when there
    are none: for the consumer whose pid is `starter`, and with it. `declared`: the schedules of the configuration; None
    leaves those in the table as they are.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        emit: Emit,
        *,
        starter: int | None = None,
        declared: Sequence[NewSchedule] | None = None,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._declared = declared
        self._emit = emit
        self._database = Database(settings.database_url, settings.database_pool_size, _STATEMENT_SECONDS)
        self._wakeup = Wakeup(settings.redis_url, emit)
        self._follow_up = FollowUp(self._database, self._wakeup, emit)
        self._lease = Lease(uuid4())
        self._crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._recorder = Recorder(self._database, self._follow_up, emit)
        self._toolbox = Toolbox(settings, catalog, self._database, self._wakeup, emit)
        self._children = ChildPool(settings, emit)
        lanes = make_lanes(settings, catalog, quarantine=starter is not None)
        self._executor = Executor(
            lanes,
            catalog,
            self._toolbox,
            self._children,
            self._recorder,
            emit,
            grace_seconds=settings.cancel_grace_seconds,
            on_crash=self._crash,
        )
        poll = settings.poll_seconds
        self._fetchers: list[Fetcher] | list[QuarantineFetcher]
        if starter is not None:
            self._fetchers = [
                QuarantineFetcher(
                    self._database,
                    self._wakeup,
                    self._executor,
                    self._lease,
                    starter=starter,
                    poll_seconds=poll,
                    emit=emit,
                )
            ]
        else:
            self._fetchers = [
                Fetcher(lane, self._database, self._wakeup, self._executor, self._lease, poll_seconds=poll, emit=emit)
                for lane in lanes
            ]
        self._reconciler = Reconciler(self._database, self._follow_up, self._executor, self._lease, emit)
        self._kinds = [kind for lane in lanes for kind in lane.kinds]
        self._sweeper = (
            None
            if starter is not None
            else Sweeper(
                self._database,
                self._wakeup,
                self._follow_up,
                self._kinds,
                self._lease,
                settings,
                emit,
                self._on_paused_queues,
            )
        )

    async def run(self, stop: StopRequest) -> None:
        """Run until `stop`, then drain.

        Raises ConsumerDeclaredDeadError when the lease was taken away, and whatever else makes going on unsafe. The
        process must then end non-zero: its tasks are recovered by others.
        """
        if not await self._register(stop):
            return
        heartbeat = Heartbeat(self._settings, self._lease, self._on_lapsed, self._on_regained, self._on_dead)
        heartbeat.start()
        watchdog = Watchdog(self._settings.loop_blocked_seconds, self._emit)
        watchdog.start()
        self._lease.held.set()
        is_quarantine = self._sweeper is None
        if any(lane.is_isolated for lane in self._executor.lanes) and not is_quarantine:
            self._children.start_one()
        concurrency = 1 if is_quarantine else sum(lane.concurrency for lane in self._executor.lanes)
        self._emit(ConsumerStarted(self._lease.consumer_id, concurrency, is_quarantine))
        helpers = [
            asyncio.create_task(self._watch_crash()),
            asyncio.create_task(stay_subscribed(self._wakeup, self._emit, self._on_canceled)),
            asyncio.create_task(every(self._settings.beat_seconds, self._lease, self._reconciler.reconcile)),
        ]
        if self._sweeper is not None:
            seconds = min(self._settings.poll_seconds, _LONGEST_SWEEP_SECONDS)
            helpers.append(asyncio.create_task(every(seconds, self._lease, self._sweeper.sweep)))
            kept = Retention.parse(self._settings.retention_days)
            pruner = Pruner(self._database, self._lease, kept, self._emit)
            helpers.append(asyncio.create_task(pruner.run()))
        fetching = asyncio.create_task(self._fetch())
        main = asyncio.create_task(self._run_until_stopped(stop, fetching))
        try:
            done, _ = await asyncio.wait([main, *helpers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watchdog.stop()
        for task in (fetching, main, *helpers):
            task.cancel()
        try:
            for task in done:
                task.result()  # the first helper to die takes the process with it
        except BaseException:
            self._executor.abandon()
            raise
        await heartbeat.stop()
        await self._close()

    async def _fetch(self) -> None:
        """Ends when a quarantine consumer is done; any other fetcher ends only by an error."""
        async with asyncio.TaskGroup() as group:
            for fetcher in self._fetchers:
                group.create_task(fetcher.run())

    async def _register(self, stop: StopRequest) -> bool:
        """Wait for PostgreSQL, declare schedules, and begin the lease. False when told to stop first."""
        outage = Outage(self._emit, "postgresql", "starting")
        while not stop.drain.is_set():
            try:
                if self._declared is not None:
                    await declare_schedules(self._database, self._declared)
                # In quarantine it serves nobody but suspects: the consumer that started it stands for the kinds.
                kinds = [] if self._sweeper is None else self._kinds
                await register(self._database, self._lease.consumer_id, socket.gethostname(), os.getpid(), kinds)
            except DatabaseUnavailableError as error:
                outage.begin(error)
                self._lease.troubled_at = time.monotonic()
                await asyncio.sleep(_RETRY_PAUSE_SECONDS)
            else:
                outage.end()
                return True
        return False

    async def _run_until_stopped(self, stop: StopRequest, fetching: "asyncio.Task[None]") -> None:
        stopped = asyncio.create_task(stop.drain.wait())
        await asyncio.wait([stopped, fetching], return_when=asyncio.FIRST_COMPLETED)
        if fetching.done():
            fetching.result()  # a quarantine consumer is done; any other ends only by an error, raised here
        stopped.cancel()
        fetching.cancel()
        await self._drain(stop)

    async def _drain(self, stop: StopRequest) -> None:
        """Let running tasks finish; stop those that don't in time, so that they are given back."""
        self._emit(ConsumerDraining(self._executor.active))
        if self._sweeper is not None:
            self._sweeper.stop()
        now = asyncio.create_task(stop.now.wait())
        drained = asyncio.create_task(self._finish_claimed())
        await asyncio.wait([drained, now], timeout=self._settings.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        if now.done() and self._sweeper is not None:
            self._sweeper.stop()
        now.cancel()
        self._executor.stop_all(StopReason.RELEASED)
        await asyncio.wait([drained], timeout=_STOP_SECONDS)
        drained.cancel()

    async def _finish_claimed(self) -> None:
        for fetcher in self._fetchers:
            await fetcher.close()
        await self._executor.wait_until_idle()

    async def _close(self) -> None:
        """All of it bounded: with _drain and the pool, DRAIN_SECONDS and what core/config.py calls STOP_SECONDS."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._recorder.drain()
                # Handlers that would not stop. From here on what they do counts no more.
                stubborn = [(run.claim.id, run.claim.claim_id) for run in self._executor.runs.values()]
                if stubborn:
                    await release(self._database, stubborn)
                await self._follow_up.drain()
                await self._toolbox.drain()
                await unregister(self._database, self._lease.consumer_id)
                await self._wakeup.close()
        except (DatabaseUnavailableError, TimeoutError) as error:
            self._emit(StopIncomplete(str(error)))
        closing = [self._children.close(), self._toolbox.close()]
        if self._sweeper is not None:
            closing.append(self._sweeper.close(_QUARANTINE_SECONDS))
        await asyncio.gather(*closing)  # each has a second
        await self._database.close()
        self._emit(ConsumerStopped())

    async def _watch_crash(self) -> None:
        await self._crashed

    def _crash(self, error: BaseException) -> None:
        if not self._crashed.done():
            self._crashed.set_exception(error)

    def _on_canceled(self, task_id: UUID) -> None:
        run = self._executor.runs.get(task_id)
        if run is not None:
            self._executor.stop(run, StopReason.CANCELED)

    def _on_paused_queues(self, names: Collection[str]) -> None:
        for lane in self._executor.lanes:
            lane.pause({kind for kind in lane.kinds if self._catalog.handler(kind).queue in names})

    def _on_lapsed(self, error: str) -> None:
        self._emit(LeaseLapsed(self._executor.active, error))
        self._lease.held.clear()
        self._executor.stop_all(StopReason.RELEASED)

    def _on_regained(self) -> None:
        self._emit(LeaseRegained())
        self._lease.held.set()

    def _on_dead(self) -> None:
        self._emit(LeaseLost())
        self._lease.held.clear()
        self._crash(ConsumerDeclaredDeadError())
