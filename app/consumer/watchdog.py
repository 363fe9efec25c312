"""Ends a process whose event loop no longer answers (docs/protocol.md)."""

import asyncio
import os
import sys
import threading
import time
import traceback
from contextlib import suppress

from app.core.events import Emit, LoopBlocked

_STEP_SECONDS = 1.0
_WORDS_SECONDS = 2.0  # to say why; the log may be what the loop is blocked by


class Watchdog(threading.Thread):
    """Asks the event loop to answer, about once a second, and ends the process where it has not for too long.

    The heartbeat keeps the lease meanwhile, from a thread of its own: a handler that holds the loop for some seconds
    should not have done so, but this process is alive, and what it runs must not run elsewhere as well. Beyond
    `limit_seconds` nothing here can be claimed, finished or canceled any more, and a lease that goes on would keep the
    tasks from everybody. Once the process has ended the lease lapses, and they count as lost.

    Only time that this thread has seen pass is counted: in a process that was stopped, or on a machine that slept,
    the loop had no chance to answer.
    """

    def __init__(self, limit_seconds: float, emit: Emit) -> None:
        """Call it in the thread of the event loop."""
        super().__init__(name="watchdog", daemon=True)
        self._limit = limit_seconds
        self._step = min(_STEP_SECONDS, limit_seconds / 4)
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Watch until stopped."""
        answer, silent, before = self._ask(), 0.0, time.monotonic()
        while not self._stopping.wait(self._step):
            now = time.monotonic()
            passed, before = now - before, now
            if answer.is_set():
                answer, silent = self._ask(), 0.0
            elif passed < 2 * self._step:  # else this thread stood still too
                silent += passed
            if silent > self._limit:
                self._end_process(silent)

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()

    def _ask(self) -> threading.Event:
        answer = threading.Event()
        with suppress(RuntimeError):  # the loop has ended, and the process is ending with it
            self._loop.call_soon_threadsafe(answer.set)
        return answer

    def _end_process(self, silent: float) -> None:
        anyway = threading.Timer(_WORDS_SECONDS, os._exit, [1])
        anyway.daemon = True
        anyway.start()
        try:
            frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - there is no other way to see it
            self._emit(LoopBlocked(silent, "".join(traceback.format_stack(frame))))
        finally:
            os._exit(1)
