"""Has old tasks and groups deleted, at a pace that nobody notices (docs/retention.md)."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from uuid import UUID

from app.consumer.heartbeat import Lease
from app.core.errors import DatabaseUnavailableError
from app.core.events import Emit, GroupsPruned, TasksPruned
from app.core.retention import Retention
from app.db.engine import Database
from app.queue.prune import Pruned, prune_groups, prune_tasks

_LOOK_SECONDS = 60.0  # whether there is anything to do
_SHARE = 0.1  # of the time, in which a batch is under way: when PostgreSQL has more to do, they take longer, and so
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.05, 5.0  # do the pauses between them
_FRUITLESS_SECONDS = 1.0  # where there is only something to pass over

Prune = Callable[[Database, UUID, Retention], Coroutine[object, object, Pruned | None]]


class Pruner:
    """Runs in every consumer; one at a time has its turn."""

    def __init__(self, database: Database, lease: Lease, kept: Retention, emit: Emit) -> None:
        self._database = database
        self._lease = lease
        self._kept = kept
        self._emit = emit
        self._counts: dict[Prune, int] = {prune_tasks: 0, prune_groups: 0}

    async def run(self) -> None:
        """For ever. PostgreSQL being away only skips a batch."""
        if not self._kept.times:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            for prune in self._counts:
                group.create_task(self._run(prune))

    async def _run(self, prune: Prune) -> None:
        while True:
            await self._lease.held.wait()
            seconds = await self.prune(prune)
            await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load

    async def prune(self, prune: Prune) -> float:
        """One batch; the seconds until the next."""
        pruned = None
        start = time.monotonic()
        with suppress(DatabaseUnavailableError):  # the fetcher has said so
            pruned = await prune(self._database, self._lease.consumer_id, self._kept)
        seconds = time.monotonic() - start
        if pruned is None:
            return _LOOK_SECONDS
        self._counts[prune] += pruned.deleted
        if pruned.is_over:
            self._say(prune)
            return _LOOK_SECONDS
        if not pruned.deleted:
            return _FRUITLESS_SECONDS
        return min(max(seconds * (1 - _SHARE) / _SHARE, _SHORTEST_SECONDS), _LONGEST_SECONDS)

    def _say(self, prune: Prune) -> None:
        count, self._counts[prune] = self._counts[prune], 0
        if count:
            self._emit(TasksPruned(count) if prune is prune_tasks else GroupsPruned(count))
