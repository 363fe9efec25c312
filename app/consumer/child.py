"""`python -m app.consumer.child CHANNEL`: a child process, which runs isolated handlers one after another.

CHANNEL is the descriptor of its end of a socket pair (app/consumer/channel.py); the consumer's side is
app/consumer/child_process.py. SIGTERM stops the handler that runs, at its `await` or in the middle of what it
computes, with CancelledError; then the process ends. It also ends, at once, when the consumer does.
"""

import asyncio
import faulthandler
import gc
import io
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from app.consumer.channel import READY, Answer, Ending, Job, answer_message, messages, pack, read_job
from app.consumer.perform import perform
from app.consumer.tools import Toolbox
from app.consumer.verdict import portable
from app.core.config import Settings, load
from app.core.errors import LostClaimError, SettingsError
from app.core.logging import log_event, set_up_logging
from app.db.engine import Database
from app.handler_api.outcome import Outcome
from app.handlers import Catalog
from app.queue.wakeup import Wakeup
from app.utils.linux import die_first_of_memory, name_process, resident_bytes

_CONNECTIONS = 2  # for checkpoints, if there are any: one handler runs at a time
_STATEMENT_SECONDS = 10.0
_CLOSE_SECONDS = 0.5


def main() -> int:
    """Run jobs until told to stop. Returns only where it can't start: 2, the settings are wrong."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    name_process("taskmill-child")
    die_first_of_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the consumer knows what to do about it
    channel.set_inheritable(False)
    faulthandler.enable()  # a crash in C says where
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what handlers print is seen, also of one that is killed
    try:
        settings = load(Settings)
        catalog = Catalog.load(settings)
    except SettingsError as error:
        sys.stderr.write(f"taskmill: {error}\n")
        return 2
    set_up_logging(settings)
    gc.freeze()  # as in the consumer
    gc.set_threshold(50_000, 20, 20)
    asyncio.run(_serve(settings.model_copy(update={"database_pool_size": _CONNECTIONS}), catalog, channel))
    raise AssertionError("unreachable: _serve ends the process")


async def _serve(settings: Settings, catalog: Catalog, channel: socket.socket) -> NoReturn:
    code = 1
    try:
        await Worker(settings, catalog, channel).serve()
        code = 0
    except BaseException:
        logging.getLogger("taskmill").exception("child process ends by an error")
    # At once, as the consumer: threads that a handler has left behind are not waited for.
    logging.shutdown()
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


class Worker:
    """Takes jobs from the channel, runs one at a time, and answers."""

    def __init__(self, settings: Settings, catalog: Catalog, channel: socket.socket) -> None:
        self._catalog = catalog
        self._memory_limit = settings.child_memory_mb * 1_048_576
        self._channel = channel
        self._database = Database(settings.database_url, 1, _STATEMENT_SECONDS)
        self._wakeup = Wakeup(settings.redis_url, log_event)
        self._toolbox = Toolbox(settings, catalog, self._database, self._wakeup, log_event)
        self._loop = asyncio.get_running_loop()
        self._serving = asyncio.current_task()
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        self._run: asyncio.Task[Outcome | Ending] | None = None
        self._is_stopping = False

    async def serve(self) -> None:
        """Work until SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        threading.Thread(target=self._listen, name="channel", daemon=True).start()
        self._channel.sendall(pack(READY))
        while not self._is_stopping and (job := await self._jobs.get()) is not None:
            signal.signal(signal.SIGTERM, self._on_sigterm)  # the last handler may have set its own
            self._run = asyncio.create_task(self._perform(job))
            await asyncio.wait([self._run])
            end = Ending.CANCELLED if self._run.cancelled() else self._run.result()
            self._channel.sendall(pack(answer_message(Answer(end, self._memory()))))
        await self._close()

    async def _perform(self, job: Job) -> Outcome | Ending:
        kind = job.claim.kind
        context = self._toolbox.context(job.claim, self._catalog.options[kind], lambda: self._is_stopping, job.deadline)
        try:
            outcome = await perform(self._catalog.handlers[kind], job.claim, context, log_event)
        except LostClaimError:
            return Ending.LOST_CLAIM
        if self._toolbox.progress.is_unwritten(job.claim):
            await self._toolbox.progress.flush()
        return portable(outcome)

    def _memory(self) -> int:
        """Bytes. Garbage is looked for only where that may save this process from being replaced."""
        held = resident_bytes()
        if held > self._memory_limit:
            gc.collect()
            held = resident_bytes()
        return held

    def _listen(self) -> None:
        """In a thread of its own: the end of the consumer is heard of also while a handler computes."""
        try:
            for message in messages(self._channel):
                self._loop.call_soon_threadsafe(self._jobs.put_nowait, read_job(message))
        finally:
            os._exit(1)

    def _on_sigterm(self, *_: object) -> None:
        """Called between two bytecodes of whatever this thread is doing."""
        self._is_stopping = True
        current = asyncio.current_task(self._loop)
        if current is None or current is not self._run:
            self._loop.call_soon_threadsafe(self._stop)  # as from a thread: it wakes a loop that waits
        if current is not None and current is not self._serving:
            raise asyncio.CancelledError

    def _stop(self) -> None:
        self._jobs.put_nowait(None)
        if self._run is not None:
            self._run.cancel()

    async def _close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._toolbox.drain()
                await self._wakeup.close()
                await self._toolbox.close()
                await self._database.close()


if __name__ == "__main__":
    sys.exit(main())
