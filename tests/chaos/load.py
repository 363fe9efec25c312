"""Clients that use the service at a steady rate, whatever becomes of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random

from tests.chaos.actions import Actions
from tests.chaos.client import Client
from tests.chaos.history import History
from tests.chaos.mix import new_schedule
from tests.support.types import Connection

MOST_UNDER_WAY = 200  # calls, those that wait to be repeated included; beyond it the load waits
_TICK_SECONDS = 0.01
_BURST_SECONDS = 0.2  # of tasks that are made up for after a pause of the driver
_SCHEDULES = 3
_POLL_SECONDS = 0.2
_LAST_SECONDS = 10.0  # for what the last tick has made

_UNENDED = """
SELECT id, kind, status, attempt, lost_count, consumer_id, is_blocked, run_at
FROM tasks WHERE status IN ('pending', 'processing') ORDER BY id
"""
_OPEN_GROUPS = "SELECT id FROM groups WHERE ended_at IS NULL ORDER BY id"


class Load:
    """The clients. All is drawn from `random`; each call goes to one of `urls`, and is noted in `history`.

    `connect` opens a connection straight to PostgreSQL.
    """

    def __init__(
        self, urls: Sequence[str], history: History, random: Random, connect: Callable[[], Awaitable[Connection]]
    ) -> None:
        self.rate = 0.0  # tasks a second
        self._clients = [Client(url, history.calls) for url in urls]
        self._random = random
        self._connect = connect
        self._actions = Actions(random)
        self._is_paused = False
        self._pacing: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self.errors: list[str] = []  # of the clients themselves, which make none
        self._schedules: list[str] = []

    @property
    def refused(self) -> Counter[str]:
        """Creates that were refused, though nothing is wrong with them, by verb and status: there should be none."""
        return self._actions.refused

    async def start(self, rate: float) -> None:
        """Begin, with `rate` tasks a second. The API must answer."""
        self.rate = rate
        for number in range(_SCHEDULES):
            name = f"schedule-{number}-{self._actions.marker()}"
            await self._actions.until_known(partial(self._clients[0].put_schedule, name, new_schedule(name)))
            self._schedules.append(name)
            self._actions.schedule(name)
        self._pacing = asyncio.create_task(self._pace())
        self._pacing.add_done_callback(self._note_end)

    def pause(self) -> None:
        """Begin no more calls. Creates whose outcome is unknown are still repeated."""
        self._is_paused = True

    def resume(self) -> None:
        """Go on."""
        self._is_paused = False

    async def settle(self, seconds: float) -> list[str]:
        """Pause; wait until no call is under way and all tasks and groups have ended. What has not, in words.

        It gives up when nothing has ended for so many seconds. PostgreSQL must be up. The load stays paused.
        """
        self.pause()
        give_up = time.monotonic() + seconds
        while self._under_way and time.monotonic() < give_up:
            await asyncio.wait(self._under_way, timeout=_POLL_SECONDS)
        calls = len(self._under_way)
        sql = await self._connect()
        try:
            stuck = await _unended(sql)
            fewest, give_up = len(stuck), time.monotonic() + seconds
            while stuck and time.monotonic() < give_up:
                await asyncio.sleep(_POLL_SECONDS)
                stuck = await _unended(sql)
                if len(stuck) < fewest:
                    fewest, give_up = len(stuck), time.monotonic() + seconds
        finally:
            await sql.close()
        return stuck + ([f"{calls} calls of clients that got no certain answer"] if calls else [])

    async def stop(self) -> list[str]:
        """Delete the schedules, let their last tasks end, and close all connections. The load must have settled.

        What has not ended, as settle().
        """
        works = list(self._under_way) + ([self._pacing] if self._pacing else [])
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        for name in self._schedules:
            await self._actions.until_known(partial(self._clients[0].delete_schedule, name))
        stuck = await self.settle(_LAST_SECONDS)
        for client in self._clients:
            await client.close()
        return stuck

    async def _pace(self) -> None:
        owed = 0.0  # tasks
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            passed, last = time.monotonic() - last, time.monotonic()
            owed = 0.0 if self._is_paused else min(owed + self.rate * passed, self.rate * _BURST_SECONDS)
            while owed > 0 and len(self._under_way) < MOST_UNDER_WAY:
                work, tasks = self._actions.draw(self._random.choice(self._clients))
                owed -= tasks
                doing = asyncio.create_task(work)
                self._under_way.add(doing)
                doing.add_done_callback(self._note_end)

    def _note_end(self, work: "asyncio.Task[None]") -> None:
        self._under_way.discard(work)
        if not work.cancelled() and (error := work.exception()):
            self.errors.append(f"a client's own error: {error!r}")


async def _unended(sql: Connection) -> list[str]:
    tasks = [", ".join(f"{name} {value}" for name, value in row.items()) for row in await sql.fetch(_UNENDED)]
    return tasks + [f"group {row['id']} is open" for row in await sql.fetch(_OPEN_GROUPS)]
