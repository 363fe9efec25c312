"""Runs claimed tasks: from a claim to a recorded outcome."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.consumer.recorder import Recorder, Released
from app.core.errors import InvalidPayloadError
from app.core.events import Emit, HandlerRaised, HandlerStopped
from app.core.task import Claim
from app.handler_api.context import Options, TaskContext
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done, Fail, Outcome


class StopReason(StrEnum):
    """Why a handler is stopped before its end."""

    CANCELED = "the task was canceled, or is another consumer's"
    RELEASED = "this consumer gives the task back"
    ABANDONED = "this process is ending, and must write nothing more"


@dataclass(slots=True, eq=False)
class Run:
    """One run of one task in this process."""

    claim: Claim
    stop_reason: StopReason | None = None
    is_working: bool = True
    is_recording: bool = False
    task: "asyncio.Task[None]" = field(init=False)


class Executor:
    """Runs up to `concurrency` tasks at once on this process's event loop.

    A run stays in `runs` until its outcome is committed, so whatever is processing in PostgreSQL under this consumer's
    id is either there or was claimed by a statement whose answer got lost. Its slot is free as soon as its handler has
    ended: the next claim is under way while outcomes are written. While PostgreSQL keeps outcomes waiting, that stops
    at as many as there are slots.
    """

    def __init__(
        self,
        concurrency: int,
        handlers: Mapping[str, tuple[Handler[Any, Any], Options]],
        recorder: Recorder,
        emit: Emit,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._concurrency = concurrency
        self._handlers = handlers
        self._recorder = recorder
        self._emit = emit
        self._on_crash = on_crash
        self.runs: dict[UUID, Run] = {}
        self._active = 0
        self._working = 0
        self._changed = asyncio.Event()

    @property
    def kinds(self) -> list[str]:
        """The kinds of task it has handlers for."""
        return list(self._handlers)

    @property
    def free(self) -> int:
        """Tasks that could start right now."""
        return min(self._concurrency - self._working, 2 * self._concurrency - self._active)

    @property
    def active(self) -> int:
        """Runs whose outcome is not recorded yet."""
        return self._active

    async def wait_for_free(self) -> None:
        """Wait for a free slot."""
        while self.free <= 0:
            await self._next_change()

    async def wait_until_idle(self) -> None:
        """Wait for the last run to end."""
        while self._active:
            await self._next_change()

    def start(self, claim: Claim) -> None:
        """Begin to run a claimed task."""
        stale = self.runs.get(claim.id)
        if stale is not None:  # taken from us and claimed again by us: the older run holds nothing any more
            self.stop(stale, StopReason.CANCELED)
        run = Run(claim)
        self.runs[claim.id] = run
        self._active += 1
        self._working += 1
        run.task = asyncio.create_task(self._execute(run))
        run.task.add_done_callback(lambda task: self._ended(run, task))

    def stop(self, run: Run, reason: StopReason) -> None:
        """Stop a handler at its current await. One that has ended is left to record its outcome."""
        if run.stop_reason is None and not run.is_recording and not run.task.done():
            run.stop_reason = reason
            run.task.cancel()  # once: a second time would interrupt what the handler does to end in order

    def stop_all(self, reason: StopReason) -> None:
        """Stop every handler."""
        for run in list(self.runs.values()):
            self.stop(run, reason)

    async def _execute(self, run: Run) -> None:
        outcome = await self._perform(run)
        self._stop_working(run)
        if outcome is not None:
            run.is_recording = True
            await self._recorder.record(run.claim, outcome)

    async def _perform(self, run: Run) -> Outcome | Released | None:
        """The outcome to record; None where the row is no longer ours to write."""
        try:
            return await self._call_handler(run.claim)
        except InvalidPayloadError as error:
            return Fail(str(error), code="invalid_payload")
        except asyncio.CancelledError:
            if run.stop_reason is None:
                return Fail("The handler was cancelled by something of its own.")
            self._emit(HandlerStopped(run.claim.id, run.stop_reason.value))
            return Released(run.stop_reason.value) if run.stop_reason is StopReason.RELEASED else None
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - it ends its own task and no other
            self._emit(HandlerRaised(run.claim.id, error))
            return Fail(f"{type(error).__name__}: {_text(error)}")

    async def _call_handler(self, claim: Claim) -> Outcome:
        handler, options = self._handlers[claim.kind]  # no other kind was claimed
        payload = handler.payload.parse(claim.content)
        outcome = await handler.run(payload, TaskContext(claim.id, claim.attempt, options))
        match outcome:
            case Done():
                return outcome
            case Fail(reason, code):
                return Fail(_text(reason), _text(code))
            case _:
                return Fail(f"The handler returned {type(outcome).__name__}, which is no outcome.", code="bad_outcome")

    def abandon(self) -> None:
        """Stop every handler and record nothing: whoever recovers the tasks decides what becomes of them."""
        self.stop_all(StopReason.ABANDONED)

    def _stop_working(self, run: Run) -> None:
        if run.is_working:
            run.is_working = False
            self._working -= 1
            self._changed.set()

    def _ended(self, run: Run, task: "asyncio.Task[None]") -> None:
        self._stop_working(run)
        self._active -= 1
        if self.runs.get(run.claim.id) is run:
            del self.runs[run.claim.id]
        self._changed.set()
        if task.cancelled():
            if run.stop_reason is StopReason.RELEASED and not run.is_recording:  # stopped before its first step
                self._recorder.submit(run.claim, Released(run.stop_reason.value))
        elif (error := task.exception()) is not None:
            self._on_crash(error)

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _text(value: object) -> str:
    """What it says of itself, whatever a handler made of it."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - its __str__ is the handler's as well
        return "(it can't be put into words)"
