"""How late this machine is: a process that no fault touches does what the others do, and notes how long it takes.

Where even its beats would not get through in time, those of the consumers say nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg

from tests.chaos.history import Injected
from tests.support.types import Connection

LATE = "late"  # the name of a fault that nobody injects
_LOOK_SECONDS = 0.05
_BEAT_SECONDS = 0.5
_NOTED_SECONDS = 0.05  # what is shorter is usual
# Of a connection and a commit, which the consumers' own beats must do in twice that: then some of theirs may fail.
TROUBLE_SECONDS = _BEAT_SECONDS / 2
_SPELL_SECONDS = 1.0  # half of what a statement may take
_INSTALL = "CREATE TABLE control (beat_at timestamptz); INSERT INTO control VALUES (now())"
_BEAT = "UPDATE control SET beat_at = clock_timestamp()"


class Lateness:
    """Of this process for what it wanted to do, and of PostgreSQL for a connection and a commit."""

    def __init__(self) -> None:
        # (until when, by time.time(); seconds)
        self._looks: list[tuple[float, float]] = []
        self._beats: list[tuple[float, float]] = []

    def within(self, begun: float, ended: float) -> float:
        """At most, in this time; in seconds."""
        return _longest([*self._looks, *self._beats], begun, ended)

    def trouble(self, begun: float, ended: float) -> float:
        """When a beat last took longer than TROUBLE_SECONDS in this time; `begun` where none did."""
        return max((at for at, late in self._beats if begun <= at <= ended and late > TROUBLE_SECONDS), default=begun)

    def spells(self) -> list[Injected]:
        """When it was late by so much that statements may not have ended in time."""
        noted = [*self._looks, *self._beats]
        return [Injected(LATE, at - late, at, "machine") for at, late in noted if late >= _SPELL_SECONDS]

    def __str__(self) -> str:
        """How much of that there was."""
        beats, looks = ([late for _, late in noted if late > TROUBLE_SECONDS] for noted in (self._beats, self._looks))
        return (
            f"{len(beats)} beats of more than {TROUBLE_SECONDS:g} s, {sum(beats):.1f} s in all; the driver's loop stood"
            f" still for as long {len(looks)} times, {sum(looks):.1f} s in all"
        )

    async def watch_loop(self) -> None:
        """Look on until cancelled."""
        while True:
            due = time.monotonic() + _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            _note(self._looks, time.monotonic() - due)

    async def watch_beats(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        """The same. Each beat connects, as a consumer's must that has just begun. There is none without PostgreSQL."""
        while True:
            begun = time.monotonic()
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                sql = await connect()
                try:
                    await sql.execute(_BEAT)
                    _note(self._beats, time.monotonic() - begun)
                finally:
                    sql.terminate()
            await asyncio.sleep(_BEAT_SECONDS)


def _note(noted: list[tuple[float, float]], late: float) -> None:
    if late > _NOTED_SECONDS:
        noted.append((time.time(), late))


def _longest(noted: list[tuple[float, float]], begun: float, ended: float) -> float:
    return max((late for at, late in noted if begun <= at and at - late <= ended), default=0.0)


@asynccontextmanager
async def watched_lateness(connect: Callable[[], Awaitable[Connection]]) -> AsyncIterator[Lateness]:
    """That of the time of the block. Call it once for a database."""
    sql = await connect()
    await sql.execute(_INSTALL)
    await sql.close()
    lateness = Lateness()
    watching = [asyncio.create_task(lateness.watch_loop()), asyncio.create_task(lateness.watch_beats(connect))]
    try:
        yield lateness
    finally:
        for each in watching:
            each.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
