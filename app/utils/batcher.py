"""Batches that form by themselves."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Gathers what arrives while the last flush is under way, and flushes it as one.

    A lone item waits for nothing. Flushes run in a task of their own, so that cancelling whoever waits for an item
    neither cancels the flush nor leaks what it holds.

    `flush` gets one item or more and returns as many results in the same order; a result that is an exception is
    raised for its item alone. What `flush` raises is raised for every item that waits, also behind this batch: what
    can't be done for these can't be done for those, and they have waited already.
    `limit`: the largest weight of a batch (a heavier item goes alone); without `weigh` each item weighs 1.
    """

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[Sequence[Result | Exception]]],
        limit: int,
        weigh: Callable[[Item], int] = lambda _: 1,
    ) -> None:
        self._flush = flush
        self._limit = limit
        self._weigh = weigh
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._flushing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Items that wait for a flush."""
        return len(self._waiting)

    def submit(self, item: Item) -> "asyncio.Future[Result]":
        """Add an item; the future gives its result."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_all())
        return future

    async def drain(self) -> None:
        """Return when everything submitted so far is flushed."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                await self._flush_one(self._take_batch())
        finally:
            self._flushing = None

    def _take_batch(self) -> list[tuple[Item, "asyncio.Future[Result]"]]:
        weight = count = 0
        for item, _ in self._waiting:
            weight += self._weigh(item)
            if weight > self._limit and count:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _flush_one(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        results: Sequence[Result | Exception]
        try:
            results = await self._flush([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"a flush of {len(batch)} items gave {len(results)} results")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to those who wait
            batch, self._waiting = batch + self._waiting, []
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # whoever waited has gone
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
