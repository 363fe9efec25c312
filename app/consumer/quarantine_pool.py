"""The quarantine processes that one consumer has started: for suspects, each alone in its process (decision 0001)."""

import asyncio
import socket
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID, uuid4

from app.consumer.forks import Forked, Forks
from app.core.errors import DatabaseUnavailableError
from app.core.events import Emit, QuarantineNotStarted
from app.db.engine import Database
from app.queue.recover import NOT_THERE_YET, keep_registered, register, unregister

_KILL_SECONDS = 0.3


class _Starting(NamedTuple):
    """One that has not registered itself."""

    consumer_id: UUID
    process: Forked


class QuarantinePool:
    """Starts them one after another, has them drain when this consumer does, and sees to it that they end."""

    def __init__(self, database: Database, forks: Forks, most: int, emit: Emit) -> None:
        """`most`: processes at a time."""
        self._database = database
        self._forks = forks
        self._most = most
        self._emit = emit
        self._processes: list[Forked] = []
        self._starting: _Starting | None = None
        self._is_stopping = False

    async def start_one(self) -> None:
        """Start one, unless there are enough, or we stop. Raises DatabaseUnavailableError."""
        if self._is_stopping or len(self._living()) >= self._most:
            return
        # Registered before it is there, so that the other consumers see at once that one comes.
        consumer_id = uuid4()
        await register(self._database, consumer_id, socket.gethostname(), NOT_THERE_YET, kinds=[])
        try:
            process = await self._forks.fork(
                *("app.consumer", "--quarantine", str(self._forks.server_pid), "--consumer-id", str(consumer_id)),
                is_bound=False,
            )
        except OSError as error:  # no memory, no file descriptors: a later sweep tries again
            self._emit(QuarantineNotStarted(str(error)))
            await unregister(self._database, consumer_id)
            return
        self._processes.append(process)
        self._starting = _Starting(consumer_id, process)
        if self._is_stopping:  # since we looked: stop() could not reach it
            process.terminate()

    async def keep_starting(self) -> None:
        """Beat for the one that starts, which does not yet: as long as it does, nobody starts another.

        Called at each sweep; where these are further apart than a lease, it may be declared dead, and starts anew.

        Raises DatabaseUnavailableError.
        """
        if self._starting is None:
            return
        consumer_id, process = self._starting
        if process.returncode is not None:
            await unregister(self._database, consumer_id)
            self._starting = None
        elif not await keep_registered(self._database, consumer_id):
            self._starting = None  # it is there, and beats itself

    def stop(self) -> None:
        """Have them drain, as this consumer does; a second call has them stop now."""
        self._is_stopping = True
        for process in self._living():
            process.terminate()

    async def ended(self) -> None:
        """Wait for all of them to end. One that is killed instead costs its suspect the last loss."""
        for process in self._living():
            await process.wait()

    async def close(self, seconds: float) -> None:
        """Wait for them to end, and see to it that they do."""
        try:
            async with asyncio.timeout(seconds):
                await self.ended()
        except TimeoutError:
            for process in self._living():
                process.kill()
            with suppress(TimeoutError):
                async with asyncio.timeout(_KILL_SECONDS):
                    await self.ended()
        if self._starting is not None:  # nobody beats for it from now on, and others would wait for it for a lease
            with suppress(DatabaseUnavailableError):
                await unregister(self._database, self._starting.consumer_id)

    def _living(self) -> list[Forked]:
        self._processes = [process for process in self._processes if process.returncode is None]
        return self._processes
