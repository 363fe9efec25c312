"""MAX_PENDING: of a queue that is full, 429 until its consumers have made room."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus

from app.api.errors import ProblemError
from app.core.idempotency import IdempotencyKey
from app.core.load import Load, total
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.counts import read_loads
from app.queue.idempotency import known_keys

LOOK_SECONDS = 1.0
_KEYS_KEPT = timedelta(hours=24)
_LONGEST_WAIT_SECONDS = 3_600
_UNKNOWN_WAIT_SECONDS = 60  # nothing has ended lately: paused, or no consumers


class Backpressure:
    """Keeps the pending tasks of each queue at MAX_PENDING at most.

    A process looks at the counters once a second at most, and while nobody creates tasks, never; in between it counts
    what it creates itself. So several processes may go beyond the limit by what the others create within a second.
    """

    def __init__(
        self, max_pending: int, catalog: Catalog, database: Database, keys_kept: timedelta = _KEYS_KEPT
    ) -> None:
        self._limit = max_pending
        self._keys_kept = keys_kept
        self._catalog = catalog
        self._queues = catalog.queues
        self._database = database
        self._loads: Mapping[str, Load] = {}
        self._looked_at = -math.inf
        self._looking: asyncio.Task[None] | None = None
        self._under_way: dict[str, int] = {}
        self._created: dict[str, int] = {}  # since the last look began

    @property
    def is_on(self) -> bool:
        """Whether there is a limit at all."""
        return self._limit > 0

    @asynccontextmanager
    async def room(self, kinds: Iterable[str], key: IdempotencyKey | None = None) -> AsyncIterator[None]:
        """Room for one task of each of these kinds, which are created within. What has a known `key` needs none.

        Raises ProblemError where a queue is full (429, with Retry-After), or could never hold as many (422), and
        DatabaseUnavailableError.
        """
        if not self.is_on:
            yield
            return
        wanted: dict[str, int] = {}
        for kind in kinds:
            queue = self._catalog.handler(kind).queue
            wanted[queue] = wanted.get(queue, 0) + 1
        await self._look()
        try:
            for queue, count in wanted.items():
                self._require_room(queue, count)
        except ProblemError:
            if key is None or not await self.known([key]):
                raise
            wanted = {}
        _add(self._under_way, wanted, 1)
        try:
            yield
            _add(self._created, wanted, 1)
        finally:
            _add(self._under_way, wanted, -1)

    async def known(self, keys: Iterable[IdempotencyKey]) -> set[bytes]:
        """Those of these keys that have made their tasks, and need no room. Raises DatabaseUnavailableError."""
        return await known_keys(self._database, keys, self._keys_kept)

    def _require_room(self, queue: str, count: int) -> None:
        if count > self._limit:
            detail = f"These are {count} tasks for the queue {queue!r}, which holds {self._limit} at most."
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
        load = total(self._loads.get(kind, Load()) for kind in self._queues[queue])
        excess = load.pending + self._under_way.get(queue, 0) + self._created.get(queue, 0) + count - self._limit
        if excess > 0:
            seconds = excess / load.ended_per_second if load.ended_per_second else _UNKNOWN_WAIT_SECONDS
            retry_after = min(max(1, math.ceil(seconds)), _LONGEST_WAIT_SECONDS)
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"The queue {queue!r} has no room for {count} more: it holds {self._limit} pending tasks at most "
                f"(MAX_PENDING). "
                "Try again after Retry-After.",
                headers={"Retry-After": str(retry_after)},
            )

    async def _look(self) -> None:
        """Those who come while a look is under way share it."""
        if self._looking is None and time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looking = asyncio.create_task(self._look_now())
        if self._looking is not None:
            await asyncio.shield(self._looking)

    async def _look_now(self) -> None:
        self._looked_at = time.monotonic()
        before, self._created = self._created, {}  # what is created from here on may or may not be in the answer
        try:
            self._loads = await read_loads(self._database)
        except BaseException:
            self._looked_at = -math.inf
            _add(self._created, before, 1)
            raise
        finally:
            self._looking = None


def _add(counts: dict[str, int], more: Mapping[str, int], sign: int) -> None:
    for queue, count in more.items():
        counts[queue] = counts.get(queue, 0) + sign * count
