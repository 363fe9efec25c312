"""Runs claimed tasks: from a claim to a recorded outcome."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.consumer.children import ChildPool
from app.consumer.lane import Lane
from app.consumer.perform import perform
from app.consumer.recorder import Recorder
from app.consumer.run import Run, StopReason
from app.consumer.tools import Toolbox
from app.consumer.verdict import Released
from app.core.errors import LostClaimError
from app.core.events import Emit, HandlerRaised, HandlerStopped, HandlerStuck
from app.core.task import Claim
from app.handler_api.outcome import Outcome, Retry
from app.handlers import Catalog
from app.utils.await_chain import await_chain
from app.utils.in_words import in_words

_KILL_SECONDS = 1.0  # for a child process to be gone, once it is killed


class Executor:
    """Runs tasks in their lanes: on this process's event loop, or in child processes.

    A run stays in `runs` until its outcome is committed, so whatever is processing in PostgreSQL under this consumer's
    id is either there or was claimed by a statement whose answer got lost.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        catalog: Catalog,
        toolbox: Toolbox,
        children: ChildPool,
        recorder: Recorder,
        emit: Emit,
        *,
        grace_seconds: float,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self.lanes = lanes
        self._lane_of = {kind: lane for lane in lanes for kind in lane.kinds}
        self._catalog = catalog
        self._toolbox = toolbox
        self._children = children
        self._recorder = recorder
        self._emit = emit
        self._grace_seconds = grace_seconds
        self._on_crash = on_crash
        self._is_giving_back = False
        self.runs: dict[UUID, Run] = {}

    @property
    def active(self) -> int:
        """Runs whose outcome is not recorded yet."""
        return sum(lane.unrecorded for lane in self.lanes)

    async def wait_until_idle(self) -> None:
        """Wait for the last run to end."""
        while self.active:
            for lane in self.lanes:
                await lane.wait_until_idle()

    def start(self, claim: Claim) -> None:
        """Begin to run a claimed task."""
        stale = self.runs.get(claim.id)
        if stale is not None:  # taken from us and claimed again by us: the older run holds nothing any more
            self.stop(stale, StopReason.CANCELED)
        handler = self._catalog.handlers[claim.kind]  # no other kind was claimed
        timeout = handler.timeout_seconds if claim.timeout_seconds is None else claim.timeout_seconds
        run = Run(claim, handler, self._lane_of[claim.kind], timeout)
        self.runs[claim.id] = run
        run.lane.take()
        run.task = asyncio.create_task(self._execute(run))
        run.task.add_done_callback(lambda task: self._ended(run, task))
        if self._is_giving_back:
            self.stop(run, StopReason.RELEASED)

    def stop(self, run: Run, reason: StopReason) -> None:
        """Stop a handler at its current await, or its process. One that has ended is left to record its outcome."""
        if run.stop_reason is None and not run.is_recording and not run.task.done():
            run.stop_reason = reason
            run.task.cancel()
            self._wait_for_grace(run)

    def stop_all(self, reason: StopReason) -> None:
        """Stop every handler."""
        for run in list(self.runs.values()):
            self.stop(run, reason)

    def give_back(self) -> None:
        """Stop every handler, and from now on also those that a claim under way still brings."""
        self._is_giving_back = True
        self.stop_all(StopReason.RELEASED)

    def abandon(self) -> None:
        """Stop every handler and record nothing: whoever recovers the tasks decides what becomes of them."""
        self.stop_all(StopReason.ABANDONED)

    async def _execute(self, run: Run) -> None:
        outcome = await self._perform(run)
        if run.is_given_up:
            return
        self._stop_working(run)
        if outcome is not None:
            await self._record(run, outcome)

    async def _perform(self, run: Run) -> Outcome | Released | None:
        """The outcome to record; None where the row is no longer ours to write."""
        try:
            outcome = await self._call_handler(run)
            # What a handler makes of being stopped is no failure of its own, and a limit of time is one.
            is_void = run.stop_reason is StopReason.TIMEOUT or (run.is_stopping() and isinstance(outcome, Retry))
            return run.outcome_of_stop() if is_void else outcome
        except LostClaimError as error:
            return Retry(None, str(error))  # the fence drops it, unless a handler has made it up
        except asyncio.CancelledError:
            if run.stop_reason is None:
                return Retry(None, "The handler was cancelled by something of its own.")
            self._emit(HandlerStopped(run.claim.id, run.stop_reason.value))
            return run.outcome_of_stop()
        except Exception as error:  # noqa: BLE001 - in what is prepared for a handler: still its own task's
            self._emit(HandlerRaised(run.claim.id, error))
            return Retry(None, f"{type(error).__name__}: {in_words(error)}")

    async def _call_handler(self, run: Run) -> Outcome:
        if run.handler.isolation == "process":
            return await self._children.run(run.claim, lambda: self._begin(run))
        options = self._catalog.options[run.claim.kind]
        context = self._toolbox.context(run.claim, options, run.is_stopping, self._begin(run))
        return await perform(run.handler, run.claim, context, self._emit)

    def _begin(self, run: Run) -> datetime | None:
        """Its time runs from here on, and not while a child process starts for it; when it is over."""
        if run.timeout_seconds is None:
            return None
        run.timer = run.task.get_loop().call_later(run.timeout_seconds, self.stop, run, StopReason.TIMEOUT)
        return datetime.now(UTC) + timedelta(seconds=run.timeout_seconds)

    async def _record(self, run: Run, outcome: Outcome | Released) -> None:
        run.is_recording = True
        if self._toolbox.progress.is_unwritten(run.claim):
            await self._toolbox.progress.flush()
        await self._recorder.submit(run.claim, run.record_of(outcome))

    def _wait_for_grace(self, run: Run) -> None:
        """Until it is over a handler ends in order, and is not interrupted."""
        if run.timer is not None:
            run.timer.cancel()
        seconds = self._grace_seconds + (_KILL_SECONDS if run.lane.is_isolated else 0)
        run.timer = run.task.get_loop().call_later(seconds, self._give_up, run)

    def _give_up(self, run: Run) -> None:
        """Its claim ends here, so that nothing it writes through Taskmill counts; its slot goes to another."""
        if run.is_recording or run.task.done():
            return
        self._emit(HandlerStuck(run.claim.id, await_chain(run.task)))
        run.is_given_up = True
        run.task.cancel()  # once more, for what it is worth
        self._stop_working(run)
        outcome = run.outcome_of_stop()
        if outcome is None:
            self._forget(run)
            return
        recording = asyncio.create_task(self._record(run, outcome))
        recording.add_done_callback(lambda task: self._recorded(run, task))

    def _stop_working(self, run: Run) -> None:
        if run.is_working:
            run.is_working = False
            run.lane.leave()

    def _ended(self, run: Run, task: "asyncio.Task[None]") -> None:
        if run.is_given_up:
            if not task.cancelled():
                task.exception()  # it counts for nothing any more, so nobody needs to hear of it
            return
        if task.cancelled() and not run.is_recording and (outcome := run.outcome_of_stop()) is not None:
            self._recorder.submit(run.claim, run.record_of(outcome))  # stopped before its first step
        self._recorded(run, task)

    def _recorded(self, run: Run, task: "asyncio.Task[None]") -> None:
        self._forget(run)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_crash(error)

    def _forget(self, run: Run) -> None:
        if run.timer is not None:
            run.timer.cancel()
        self._stop_working(run)
        run.lane.record()
        if self.runs.get(run.claim.id) is run:
            del self.runs[run.claim.id]
