"""Batches form by themselves, and one item's trouble is no other's."""

import asyncio
from collections.abc import Sequence

import pytest

from app.utils.batcher import Batcher


class Flush:
    """A flush that doubles numbers, held until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.errors: dict[int, Exception] = {}
        self.fails_with: Exception | None = None
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self, items: list[int]) -> Sequence[int | Exception]:
        """Flush."""
        self.batches.append(items)
        self.began.set()
        await self.may_end.wait()
        if self.fails_with is not None:
            raise self.fails_with
        return [self.errors.get(item, item * 2) for item in items]


@pytest.fixture
def flush() -> Flush:
    """The flush of the batcher under test."""
    return Flush()


@pytest.fixture
def batcher(flush: Flush) -> Batcher[int, int]:
    """Batches of three at most."""
    return Batcher(flush, 3)


async def test_a_lone_item_waits_for_nothing(flush: Flush, batcher: Batcher[int, int]) -> None:
    """Its flush begins in the very next turn of the loop."""
    future = batcher.submit(1)
    await asyncio.sleep(0)
    assert flush.batches == [[1]]
    assert len(batcher) == 0
    flush.may_end.set()
    assert await future == 2


async def test_batches_form_while_a_flush_is_under_way(flush: Flush, batcher: Batcher[int, int]) -> None:
    """What arrives meanwhile is flushed together, in its order."""
    futures = [batcher.submit(1)]
    await flush.began.wait()
    futures += [batcher.submit(2), batcher.submit(3)]
    assert len(batcher) == 2
    assert flush.batches == [[1]]
    flush.may_end.set()
    assert await asyncio.gather(*futures) == [2, 4, 6]
    assert flush.batches == [[1], [2, 3]]


async def test_a_batch_has_a_limit(flush: Flush, batcher: Batcher[int, int]) -> None:
    """Three at most, in the order of their coming."""
    flush.may_end.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(batcher.submit(n) for n in range(7))) == [0, 2, 4, 6, 8, 10, 12]
    assert flush.batches == [[0, 1, 2], [3, 4, 5], [6]]


async def test_flushes_do_not_overlap(flush: Flush, batcher: Batcher[int, int]) -> None:
    """The next flush begins when the last one has ended."""
    first = batcher.submit(1)
    await flush.began.wait()
    flush.began.clear()
    second = batcher.submit(2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not flush.began.is_set()
    flush.may_end.set()
    await first
    await second
    assert flush.batches == [[1], [2]]


async def test_an_exception_among_the_results_is_for_its_item_alone(flush: Flush, batcher: Batcher[int, int]) -> None:
    """The others of the batch have their results."""
    flush.errors[2] = LookupError("two")
    flush.may_end.set()
    results = await asyncio.gather(*(batcher.submit(n) for n in (1, 2, 3)), return_exceptions=True)
    assert results == [2, flush.errors[2], 6]


async def test_a_flush_that_raises_raises_for_all_of_its_batch(flush: Flush, batcher: Batcher[int, int]) -> None:
    """The batch after it is flushed as if nothing had been."""
    flush.fails_with = ValueError("down")
    flush.may_end.set()
    results = await asyncio.gather(*(batcher.submit(n) for n in (1, 2)), return_exceptions=True)
    assert results == [flush.fails_with] * 2
    flush.fails_with = None
    assert await batcher.submit(3) == 6


async def test_what_waits_behind_a_flush_that_raises_waits_no_longer(flush: Flush, batcher: Batcher[int, int]) -> None:
    """It gets the same error at once; the batcher goes on."""
    flush.fails_with = ValueError("down")
    futures = [batcher.submit(n) for n in range(4)]
    await flush.began.wait()
    flush.may_end.set()
    assert await asyncio.gather(*futures, return_exceptions=True) == [flush.fails_with] * 4
    assert flush.batches == [[0, 1, 2]]
    flush.fails_with = None
    await batcher.submit(5)
    assert flush.batches == [[0, 1, 2], [5]]


async def test_batches_are_cut_by_weight(flush: Flush) -> None:
    """As many as fit; one that is too heavy for any batch goes alone."""
    batcher = Batcher(flush, 10, weigh=lambda item: item)
    flush.may_end.set()
    await asyncio.gather(*(batcher.submit(weight) for weight in (4, 6, 5, 30, 1)))
    assert flush.batches == [[4, 6], [5], [30], [1]]


async def test_a_waiter_that_goes_takes_nothing_with_it(flush: Flush, batcher: Batcher[int, int]) -> None:
    """Neither the flush under way is cancelled, nor are those who wait with it or after it."""

    async def wait_for(item: int) -> int:
        return await batcher.submit(item)

    leaving, staying = asyncio.create_task(wait_for(1)), asyncio.create_task(wait_for(2))
    await flush.began.wait()
    later_leaving, later_staying = asyncio.create_task(wait_for(3)), asyncio.create_task(wait_for(4))
    await asyncio.sleep(0)
    leaving.cancel()
    later_leaving.cancel()
    flush.may_end.set()
    async with asyncio.timeout(5):
        assert (await staying, await later_staying) == (4, 8)
    assert leaving.cancelled()
    assert later_leaving.cancelled()
    assert flush.batches == [[1, 2], [3, 4]]


async def test_drain_waits_for_what_was_submitted(flush: Flush, batcher: Batcher[int, int]) -> None:
    """Batches that still wait are included."""
    futures = [batcher.submit(n) for n in range(5)]
    draining = asyncio.create_task(batcher.drain())
    await flush.began.wait()
    assert not draining.done()
    flush.may_end.set()
    await draining
    assert [future.result() for future in futures] == [0, 2, 4, 6, 8]


async def test_drain_waits_for_a_flush_that_nobody_else_awaits(flush: Flush, batcher: Batcher[int, int]) -> None:
    """A request that was cancelled may have left its statement under way."""
    batcher.submit(1).cancel()
    draining = asyncio.create_task(batcher.drain())
    await flush.began.wait()
    assert not draining.done()
    flush.may_end.set()
    await draining


async def test_drain_of_an_idle_batcher_returns(batcher: Batcher[int, int]) -> None:
    """There is nothing to wait for."""
    await batcher.drain()
