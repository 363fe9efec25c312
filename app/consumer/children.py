"""Child processes for handlers that block or compute: isolation="process"."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from app.consumer.channel import Answer, Ending, Job
from app.consumer.child_process import ChildDiedError, ChildProcess
from app.consumer.forks import Forks
from app.core.config import Settings
from app.core.errors import LostClaimError
from app.core.events import ChildKilled, ChildNotStarted, ChildReplaced, ChildStarted, Emit
from app.core.task import Claim
from app.handler_api.outcome import Outcome, Retry, Snooze

_START_TRIES = 3
_START_PAUSE_SECONDS = 1.0
_SNOOZE = timedelta(seconds=5)  # by then this host has recovered, or another consumer has taken the task
_RETIRE_SECONDS = 2.0
_CLOSE_SECONDS = 0.4
_MEBIBYTE = 1_048_576

# A child that is ready for a job, or about to be; None where it could not be started.
Place = asyncio.Task[ChildProcess | None]


class ChildPool:
    """Child processes that are started when they are needed, and reused.

    As many as were ever needed at once, which is at most as many as the lane has slots. A child that ends is replaced
    at once, so that no task but the first has to wait for a start.
    """

    def __init__(self, settings: Settings, forks: Forks, emit: Emit) -> None:
        self._settings = settings
        self._forks = forks
        self._emit = emit
        self._waiting: list[Place] = []
        self._children: set[ChildProcess] = set()
        self._background: set[asyncio.Task[bool]] = set()
        self._is_closing = False

    def start_one(self) -> None:
        """Start a child that nobody asks for yet: it imports the handlers' modules first."""
        if not self._is_closing:
            self._waiting.insert(0, self._start())  # taken last: those behind it are ready

    async def run(self, claim: Claim, begin: Callable[[], datetime | None]) -> Outcome:
        """Run the claim in a child; the outcome. `begin` is called when there is one, and gives the deadline.

        Cancelling this stops the handler, with SIGTERM and after CANCEL_GRACE_SECONDS with SIGKILL, at once where it
        is cancelled again; CancelledError, or what the handler made of it, comes when the process is gone. A process
        that dies by itself is a failed attempt. Where none can be started, the task is put off, and no attempt counts.

        Raises LostClaimError when a checkpoint did.
        """
        place = await self._take()
        if place is None:
            return Snooze(datetime.now(UTC) + _SNOOZE)
        child = place.result()
        assert child is not None
        running = asyncio.create_task(child.run(Job(claim, begin())))
        try:
            answer = await asyncio.shield(running)
        except ChildDiedError as error:
            self._replaced(child, f"it died: {error}")
            return Retry(None, f"The handler's process died: {error}")
        except asyncio.CancelledError:
            await self._stop(child, claim)
            self._replaced(child, "its handler was stopped")
            await asyncio.wait([running])
            if running.exception() is not None:
                raise
            answer = running.result()
        else:
            self._put_back(place, child, answer)
        return _outcome(answer)

    async def close(self) -> None:
        """End all children, in less than a second. Cancel what runs in them first."""
        self._is_closing = True
        ending: list[asyncio.Task[Any]] = [asyncio.create_task(child.end(_CLOSE_SECONDS)) for child in self._children]
        ending += self._waiting
        if ending:
            await asyncio.wait(ending, timeout=2 * _CLOSE_SECONDS)

    async def _take(self) -> Place | None:
        for _ in range(_START_TRIES):
            place = self._next()
            try:
                child = await asyncio.shield(place)
            except asyncio.CancelledError:
                self._waiting.insert(0, place)  # it goes on starting, for the next
                raise
            if child is None:
                await asyncio.sleep(_START_PAUSE_SECONDS)
            elif child.is_alive:
                return place
        return None

    def _next(self) -> Place:
        while self._waiting:
            place = self._waiting.pop()
            if not place.done() or ((child := place.result()) is not None and child.is_alive):
                return place
        return self._start()

    def _start(self) -> Place:
        return asyncio.create_task(self._start_child())

    async def _start_child(self) -> ChildProcess | None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            child = await ChildProcess.spawn(self._forks)
        except Exception as error:  # noqa: BLE001 - whatever the system lacks, this process lives on without
            self._emit(ChildNotStarted(f"{type(error).__name__}: {error}"))
            return None
        self._children.add(child)
        child.gone.add_done_callback(lambda _: self._children.discard(child))
        try:
            if self._is_closing:
                child.kill()
            await child.start()
        except ChildDiedError as error:
            if not self._is_closing:
                self._emit(ChildNotStarted(f"it ended before it was ready: {error}"))
            return None
        self._emit(ChildStarted(child.pid, loop.time() - began))
        return child

    def _put_back(self, place: Place, child: ChildProcess, answer: Answer) -> None:
        held = answer.memory // _MEBIBYTE
        if child.jobs >= self._settings.child_max_tasks:
            reason = f"it has run {child.jobs} tasks"
        elif held > self._settings.child_memory_mb:
            reason = f"it holds {held} MB"
        else:
            self._waiting.append(place)
            return
        task = asyncio.create_task(child.end(_RETIRE_SECONDS))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        self._replaced(child, reason)

    def _replaced(self, child: ChildProcess, reason: str) -> None:
        if not self._is_closing:
            self._emit(ChildReplaced(child.pid, reason))
            self.start_one()

    async def _stop(self, child: ChildProcess, claim: Claim) -> None:
        """End it, whatever happens meanwhile to who waits for that."""
        ending = asyncio.create_task(child.end(self._settings.cancel_grace_seconds))
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                child.kill()
        if ending.result():
            self._emit(ChildKilled(child.pid, claim.id))


def _outcome(answer: Answer) -> Outcome:
    match answer.end:
        case Ending.LOST_CLAIM:
            raise LostClaimError
        case Ending.CANCELLED:  # by us, or by something of the handler's own
            raise asyncio.CancelledError
        case outcome:
            return outcome
