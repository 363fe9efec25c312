"""Writes outcomes, many in a statement, until PostgreSQL has them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from app.consumer.verdict import Again, Completed, Failed, Record, Released, Snoozed
from app.core.errors import DatabaseUnavailableError, RejectedRowError
from app.core.events import AttemptFailed, ClaimLost, Emit, TaskFailed, TasksCompleted, TasksReleased, TasksSnoozed
from app.core.outage import Outage
from app.core.task import Claim, ErrorCode
from app.db.engine import Database
from app.queue.finish import Failure, Written, complete, fail, release, retry_at, snooze
from app.queue.follow_up import FollowUp
from app.utils.batcher import Batcher

_RETRY_PAUSE_SECONDS = 0.2
_HEAVIEST_BATCH = 8 * 2**20  # characters: what takes longer than a statement may would be sent again for ever
_RECORD = 8_192  # of each besides its result, so that there are 1,000 at most

RecordT = TypeVar("RecordT", bound=Record)
Records = list[tuple[Claim, RecordT]]


class Recorder:
    """Takes records from runs as they end. Cancelling who waits does not cancel the write."""

    def __init__(self, database: Database, follow_up: FollowUp, emit: Emit) -> None:
        self._database = database
        self._follow_up = follow_up
        self._emit = emit
        self._outage = Outage(emit, "postgresql", "recording outcomes")
        self._batcher: Batcher[tuple[Claim, Record], None] = Batcher(self._flush, _HEAVIEST_BATCH, _weight)
        self._writers: dict[type[Record], Callable[[Records[Any]], Awaitable[None]]] = {
            Completed: self._complete,
            Failed: self._fail,
            Again: self._retry,
            Snoozed: self._snooze,
            Released: self._release,
        }

    def submit(self, claim: Claim, record: Record) -> "asyncio.Future[None]":
        """Hand over a record; the future is done when it is committed, or known to come too late."""
        return self._batcher.submit((claim, record))

    async def drain(self) -> None:
        """Wait until everything handed over is written."""
        await self._batcher.drain()

    async def _flush(self, batch: list[tuple[Claim, Record]]) -> Sequence[None]:
        for kind, write in self._writers.items():
            records = [pair for pair in batch if type(pair[1]) is kind]
            if records:
                await self._persist(write, records)
        return [None] * len(batch)

    async def _persist(self, write: Callable[[Records[Any]], Awaitable[None]], records: Records[Any]) -> None:
        """Write until PostgreSQL answers. Safe to repeat: what an earlier try has written still counts as ours."""
        while True:
            try:
                await write(records)
            except DatabaseUnavailableError as error:
                self._outage.begin(error)
                await asyncio.sleep(_RETRY_PAUSE_SECONDS)
            except RejectedRowError as error:
                await self._persist_apart(write, records, error)
                return
            else:
                self._outage.end()
                return

    async def _persist_apart(
        self, write: Callable[[Records[Any]], Awaitable[None]], records: Records[Any], error: RejectedRowError
    ) -> None:
        """Something in one of them can't be stored: that one fails, and no other."""
        if len(records) > 1:
            middle = len(records) // 2
            await self._persist(write, records[:middle])
            await self._persist(write, records[middle:])
        else:
            ((claim, _),) = records
            await self._persist(self._fail, [(claim, Failed(Failure(ErrorCode.HANDLER_ERROR, str(error))))])

    async def _complete(self, records: Records[Completed]) -> None:
        written = await complete(self._database, _claims(records), [record.result for _, record in records])
        self._emit(TasksCompleted(list(written)))
        self._written(records, written)

    async def _fail(self, records: Records[Failed]) -> None:
        written = await fail(self._database, _claims(records), [record.failure for _, record in records])
        for claim, record in records:
            if claim.id in written:
                self._emit(TaskFailed(claim.id, record.failure.code, record.failure.message))
        self._written(records, written)

    async def _retry(self, records: Records[Again]) -> None:
        failures, delays = [record.failure for _, record in records], [record.delay for _, record in records]
        written = await retry_at(self._database, _claims(records), failures, delays)
        for claim, record in records:
            if claim.id in written:
                seconds = record.delay.total_seconds()
                self._emit(AttemptFailed(claim.id, record.failure.code, record.failure.message, seconds))
        self._written(records, written)

    async def _snooze(self, records: Records[Snoozed]) -> None:
        written = await snooze(self._database, _claims(records), [record.until for _, record in records])
        self._emit(TasksSnoozed(list(written)))
        self._written(records, written)

    async def _release(self, records: Records[Released]) -> None:
        # A row that is no longer ours needs no release: what it has become is right.
        released = await release(self._database, [(claim.id, claim.claim_id) for claim, _ in records])
        if released:
            self._follow_up.pending_again(released)
            self._emit(TasksReleased([task.id for task in released], records[0][1].reason))

    def _written(self, records: Records[Any], written: Written) -> None:
        self._follow_up.left(written.values())
        if len(written) < len(records):
            for claim, _ in records:
                if claim.id not in written:
                    self._emit(ClaimLost(claim.id))


def _weight(item: tuple[Claim, Record]) -> int:
    record = item[1]
    return _RECORD + len(record.result or "") if isinstance(record, Completed) else _RECORD


def _claims(records: Records[RecordT]) -> list[Claim]:
    return [claim for claim, _ in cast("list[tuple[Claim, Any]]", records)]
