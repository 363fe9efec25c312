"""One consumer process: it registers, claims and runs tasks under its lease, and drains when it is told to stop."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from uuid import UUID, uuid4

from app.consumer.drain import StopRequest, close, drain
from app.consumer.forks import Server
from app.consumer.heartbeat import Heartbeat
from app.consumer.maintenance import every
from app.consumer.parts import make_parts
from app.consumer.pruner import Pruner
from app.consumer.run import StopReason
from app.consumer.watchdog import Watchdog
from app.core.config import Settings
from app.core.errors import ConsumerDeclaredDeadError, DatabaseUnavailableError
from app.core.events import ConsumerStarted, Emit, LeaseLapsed, LeaseLost, LeaseRegained
from app.core.outage import Outage
from app.core.retention import Retention
from app.core.schedule import NewSchedule
from app.handlers import Catalog
from app.queue.listen import stay_subscribed
from app.queue.recover import register
from app.queue.schedule import declare_schedules

_RETRY_PAUSE_SECONDS = 0.5
_LONGEST_SWEEP_SECONDS = 10.0  # a tick that nobody has seen for a minute counts as missed


class Consumer:
    """Claims tasks and runs them until it is told to stop.

    A quarantine consumer runs suspects (tasks that were lost with their consumers) one at a time, and ends when there
    are none. It has a `consumer_id` that has been registered for it; any other has a fresh one. `declared`: the
    schedules of the configuration; None leaves those in the table as they are.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        emit: Emit,
        server: Server,
        *,
        is_quarantine: bool = False,
        consumer_id: UUID | None = None,
        declared: Sequence[NewSchedule] | None = None,
    ) -> None:
        self._settings = settings
        self._declared = declared
        self._emit = emit
        self._is_quarantine = is_quarantine
        self._crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts = make_parts(
            settings,
            catalog,
            emit,
            server=server,
            is_quarantine=is_quarantine,
            consumer_id=consumer_id or uuid4(),
            on_crash=self._crash,
        )
        self._lease = self._parts.lease
        self._executor = self._parts.executor

    async def run(self, stop: StopRequest) -> None:
        """Run until `stop`, then drain.

        Raises ConsumerDeclaredDeadError when the lease was taken away, and whatever else makes going on unsafe. The
        process must then end non-zero: its tasks are recovered by others.
        """
        heartbeat = Heartbeat(self._settings, self._lease, self._on_lapsed, self._on_regained, self._on_dead)
        heartbeat.start()
        is_registered = False
        try:
            is_registered = await self._register(heartbeat, stop)
        finally:
            if not is_registered:
                await heartbeat.stop()
        if not is_registered:
            return
        watchdog = Watchdog(self._settings.loop_blocked_seconds, self._emit)
        watchdog.start()
        self._lease.held.set()
        lanes = self._executor.lanes
        if any(lane.is_isolated for lane in lanes) and not self._is_quarantine:
            self._parts.children.start_one()
        concurrency = 1 if self._is_quarantine else sum(lane.concurrency for lane in lanes)
        self._emit(ConsumerStarted(self._lease.consumer_id, concurrency, self._is_quarantine))
        helpers = self._start_helpers()
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
        await close(self._parts, self._emit)

    def _start_helpers(self) -> list["asyncio.Task[None]"]:
        """What goes on beside the tasks, none of which ever ends but by an error."""
        parts, settings = self._parts, self._settings
        helpers = [
            asyncio.create_task(self._watch_crash()),
            asyncio.create_task(stay_subscribed(settings.redis_url, self._emit, self._on_canceled)),
            asyncio.create_task(every(settings.beat_seconds, self._lease, parts.reconciler.reconcile)),
        ]
        if parts.sweeper is not None:
            seconds = min(settings.poll_seconds, _LONGEST_SWEEP_SECONDS)
            helpers.append(asyncio.create_task(every(seconds, self._lease, parts.sweeper.sweep)))
            pruner = Pruner(parts.database, self._lease, Retention.parse(settings.retention_days), self._emit)
            helpers.append(asyncio.create_task(pruner.run()))
        return helpers

    async def _fetch(self) -> None:
        """Ends when a quarantine consumer is done; any other fetcher ends only by an error."""
        async with asyncio.TaskGroup() as group:
            for fetcher in self._parts.fetchers:
                group.create_task(fetcher.run())

    async def _register(self, heartbeat: Heartbeat, stop: StopRequest) -> bool:
        """Wait for PostgreSQL, declare schedules, and begin the lease. False when told to stop first."""
        database = self._parts.database
        outage = Outage(self._emit, "postgresql", "starting")
        while not stop.drain.is_set():
            try:
                await heartbeat.connected()
                if self._declared is not None:
                    await declare_schedules(database, self._declared)
                # In quarantine it serves nobody but suspects: the consumer that started it stands for the kinds.
                kinds = [] if self._is_quarantine else self._parts.kinds
                sent = time.monotonic()
                await register(database, self._lease.consumer_id, socket.gethostname(), os.getpid(), kinds)
            except DatabaseUnavailableError as error:
                outage.begin(error)
                self._lease.troubled_at = time.monotonic()
                await asyncio.sleep(_RETRY_PAUSE_SECONDS)
            else:
                heartbeat.begin(sent)
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
        await drain(self._parts, stop, self._settings.drain_seconds, self._emit)

    async def _watch_crash(self) -> None:
        await self._crashed

    def _crash(self, error: BaseException) -> None:
        if not self._crashed.done():
            self._crashed.set_exception(error)

    def _on_canceled(self, task_id: UUID) -> None:
        run = self._executor.runs.get(task_id)
        if run is not None:
            self._executor.stop(run, StopReason.CANCELED)

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
