"""Writes outcomes, many in a statement, until PostgreSQL has them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never
from uuid import UUID

from app.core.errors import DatabaseUnavailableError
from app.core.events import ClaimLost, Emit, TaskFailed, TasksCompleted, TasksReleased
from app.core.outage import Outage
from app.core.task import Claim
from app.db.engine import Database
from app.handler_api.outcome import Done, Fail, Outcome
from app.queue.finish import complete, fail, release
from app.queue.wakeup import Wakeup
from app.utils.batcher import Batcher

_RETRY_PAUSE_SECONDS = 0.2
_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Released:
    """The task goes back to pending; no attempt is burnt."""

    reason: str


Record = tuple[Claim, Outcome | Released]


class Recorder:
    """Takes outcomes from runs as they end. Cancelling who waits does not cancel the write."""

    def __init__(self, database: Database, wakeup: Wakeup, emit: Emit) -> None:
        self._database = database
        self._wakeup = wakeup
        self._emit = emit
        self._outage = Outage(emit, "postgresql", "recording outcomes")
        self._batcher: Batcher[Record, None] = Batcher(self._flush, _BATCH)

    def submit(self, claim: Claim, outcome: Outcome | Released) -> "asyncio.Future[None]":
        """Hand over an outcome; the future is done when it is committed, or known to come too late."""
        return self._batcher.submit((claim, outcome))

    async def record(self, claim: Claim, outcome: Outcome | Released) -> None:
        """Hand over an outcome and wait for it."""
        await self.submit(claim, outcome)

    async def drain(self) -> None:
        """Wait until everything handed over is written."""
        await self._batcher.drain()

    async def _flush(self, batch: list[Record]) -> Sequence[None]:
        done: list[Claim] = []
        failed: list[tuple[Claim, Fail]] = []
        released: list[tuple[Claim, Released]] = []
        for claim, outcome in batch:
            match outcome:
                case Done():
                    done.append(claim)
                case Fail():
                    failed.append((claim, outcome))
                case Released():
                    released.append((claim, outcome))
                case _:
                    assert_never(outcome)
        if done:
            await self._persist(lambda: self._complete(done))
        if failed:
            await self._persist(lambda: self._fail(failed))
        if released:
            await self._persist(lambda: self._release(released))
        return [None] * len(batch)

    async def _persist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write until PostgreSQL answers. Safe to repeat: what an earlier try has written still counts as ours."""
        while True:
            try:
                await write()
            except DatabaseUnavailableError as error:
                self._outage.begin(error)
                await asyncio.sleep(_RETRY_PAUSE_SECONDS)
            else:
                self._outage.end()
                return

    async def _complete(self, claims: list[Claim]) -> None:
        completed = await complete(self._database, claims)
        self._emit(TasksCompleted([c.id for c in claims if c.id in completed]))
        self._lost(c.id for c in claims if c.id not in completed)

    async def _fail(self, failures: list[tuple[Claim, Fail]]) -> None:
        claims = [claim for claim, _ in failures]
        failed = await fail(self._database, claims, [(f.code, f.reason) for _, f in failures])
        for claim, failure in failures:
            if claim.id in failed:
                self._emit(TaskFailed(claim.id, failure.code, failure.reason))
        self._lost(c.id for c in claims if c.id not in failed)

    async def _release(self, releases: list[tuple[Claim, Released]]) -> None:
        # A row that is no longer ours needs no release: what it has become is right.
        released = list(await release(self._database, [(c.id, c.claim_id) for c, _ in releases]))
        if released:
            self._wakeup.push(released)
            self._emit(TasksReleased(released, releases[0][1].reason))

    def _lost(self, ids: Iterable[UUID]) -> None:
        for task_id in ids:
            self._emit(ClaimLost(task_id))
