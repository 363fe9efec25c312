"""This process's lease, beaten from a thread so that a busy event loop does not look dead (docs/protocol.md)."""

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from app.core.config import Settings
from app.core.errors import DatabaseUnavailableError
from app.db.engine import CONNECT_SECONDS, Database
from app.queue.recover import BEAT

_BEAT_TIMEOUT_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_EXIT_SECONDS = 5.0
_STOP_SECONDS = 2.0  # a beat and its connection's close; a name that is being looked up may take longer, for nothing
_FROZEN = "this process was frozen"


@dataclass(slots=True)
class Lease:
    """What the event loop knows of the lease.

    `held`: claims are allowed. `claiming`: taken while a claim is under way, so that rows which say they are ours can
    be compared with what we hold. `is_settled`: since a comparison at which nothing ran here, and no row said that it
    is ours, nothing was claimed. `doubt_until`: until then (monotonic) a claim without an answer may be committed.
    `troubled_at`: when (monotonic) a beat of ours last failed, was late or found its connection closed, or a sweep got
    no answer. What kept it may have kept the beats of others, so for a whole lease from then on nobody's silence counts
    against him: docs/decisions/0002.
    """

    consumer_id: UUID
    held: asyncio.Event = field(default_factory=asyncio.Event)
    claiming: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_settled: bool = False
    doubt_until: float = 0.0
    troubled_at: float = -math.inf


class Heartbeat(threading.Thread):
    """Renews the lease every `beat_seconds` and tells the event loop when it is in doubt, regained or gone.

    It is started, and connects, before there is a lease (`begin`): whoever is slow to connect loses none by that.

    In doubt: no beat got through for the lease less one beat, by the monotonic clock, counted from the time that the
    last good one was sent. From then on somebody else may take our tasks, so handlers must stop.
    """

    def __init__(
        self,
        settings: Settings,
        lease: Lease,
        on_lapsed: Callable[[str], None],
        on_regained: Callable[[], None],
        on_dead: Callable[[], None],
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._settings = settings
        self._patience = min(_BEAT_TIMEOUT_SECONDS, settings.beat_seconds)
        self._lease = lease
        self._on_lapsed = on_lapsed
        self._on_regained = on_regained
        self._on_dead = on_dead
        self._loop = asyncio.get_running_loop()
        self._is_connected = asyncio.Event()
        self._begun = threading.Event()
        self._stopping = threading.Event()
        self._last_good = math.inf
        self._has_lapsed = False
        self._trouble = "no answer yet"
        self._connecting: asyncio.Task[None] | None = None
        self._connection: object = None
        self._carried = 0  # beats, by this connection

    def run(self) -> None:
        """Beat until stopped. Whatever ends this thread otherwise ends the process."""
        try:
            asyncio.run(self._beat_on())
        finally:
            if not self._stopping.is_set():
                self._tell(self._on_dead)
                # A loop that is stuck in a handler can't hear that; the fence keeps what it does from mattering, but
                # its slot is better used by a fresh process.
                if not self._stopping.wait(_EXIT_SECONDS):
                    os._exit(1)

    async def connected(self) -> None:
        """Wait for the connection. Raises DatabaseUnavailableError where that takes longer than it should."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._is_connected.wait()
        except TimeoutError:
            raise DatabaseUnavailableError(self._trouble) from None

    def begin(self, sent: float) -> None:
        """Keep the lease that has been registered by a statement sent at this time (monotonic)."""
        self._last_good = sent
        self._begun.set()

    async def stop(self) -> None:
        """End the thread. One that still waits for something is left: its next beat is none."""
        self._stopping.set()
        self._begun.set()
        await asyncio.to_thread(self.join, _STOP_SECONDS)

    async def _beat_on(self) -> None:
        database = Database(self._settings.database_url, pool_size=1, statement_seconds=self._patience)
        try:
            await self._connect_first(database)
            while not self._begun.is_set():
                await asyncio.to_thread(self._begun.wait, _RETRY_SECONDS)
            while not self._stopping.is_set():
                sent = time.monotonic()
                answer = await self._beat(database)
                if answer is False:
                    return
                if answer is None or sent - self._last_good > 2 * self._settings.beat_seconds:
                    self._lease.troubled_at = time.monotonic()
                if answer:
                    self._last_good, self._trouble = sent, _FROZEN
                self._notice_lapse()
                pause = self._settings.beat_seconds if answer else min(_RETRY_SECONDS, self._settings.beat_seconds)
                await asyncio.to_thread(self._stopping.wait, max(0.0, sent + pause - time.monotonic()))
        finally:
            await database.close()

    async def _connect_first(self, database: Database) -> None:
        while not self._stopping.is_set():
            try:
                await database.connect()
            except Exception as error:  # noqa: BLE001 - whatever it was, there is no connection yet
                self._trouble = _said(error)
                await asyncio.to_thread(self._stopping.wait, _RETRY_SECONDS)
            else:
                self._tell(self._is_connected.set)
                break

    async def _beat(self, database: Database) -> bool | None:
        """True: renewed. False: declared dead. None: nobody knows."""
        try:
            async with asyncio.timeout(self._patience):
                await self._connect(database)
                async with database.connection() as connection:
                    self._notice_closed(connection)
                    return bool(await connection.fetch(BEAT, self._lease.consumer_id))
        except Exception as error:  # noqa: BLE001 - whatever it was, it was no beat; the lease says how long that may go on
            self._trouble = _said(error)
            return None

    def _notice_closed(self, connection: object) -> None:
        """What closed our connection may have closed those of others.

        Not so where each carries one beat: something between us and PostgreSQL closes what is idle, and always will.
        """
        if connection is self._connection:
            self._carried += 1
            return
        if self._carried > 1:
            self._lease.troubled_at = time.monotonic()
        self._connection, self._carried = connection, 1

    async def _connect(self, database: Database) -> None:
        """Wait for a connection. One that is under way outlives a beat's patience: a busy server may take longer."""
        self._connecting = connecting = self._connecting or asyncio.create_task(database.connect())
        try:
            await asyncio.shield(connecting)
        finally:
            if connecting.done():
                self._connecting = None

    def _notice_lapse(self) -> None:
        patience = self._settings.lease_seconds - self._settings.beat_seconds
        lapsed = time.monotonic() - self._last_good > patience
        if lapsed != self._has_lapsed:
            self._has_lapsed = lapsed
            if lapsed:
                self._tell(lambda: self._on_lapsed(self._trouble))
            else:
                self._tell(self._on_regained)

    def _tell(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the process is ending with it
            self._loop.call_soon_threadsafe(callback)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error) or 'no answer in time'}"
