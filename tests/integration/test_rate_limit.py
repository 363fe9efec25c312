"""Buckets of requests: in Redis for all processes, in each process while Redis is away."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.core.events import LimitedAlone, ServiceDown, ServiceUp
from app.queue import rate_limit
from app.queue.rate_limit import BUCKETS, RateLimiter, Taken
from tests.support.proxy import Proxy
from tests.support.waiting import EventLog, until

NEVER_IN_THIS_TEST = 6  # requests a minute: the next one comes after 10 s
PATIENCE = rate_limit.PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no outage; where a test is about the patience, it sets it back."""
    monkeypatch.setattr(rate_limit, "PATIENCE_SECONDS", 5.0)


@pytest.fixture
async def limiter(redis_proxy: Proxy, events: EventLog) -> AsyncIterator[RateLimiter]:
    """A process's limiter, on a Redis that may fail."""
    limiter = RateLimiter(redis_proxy.url, events)
    yield limiter
    await limiter.close()


@pytest.fixture
async def another(redis_url: str, events: EventLog) -> AsyncIterator[RateLimiter]:
    """That of another process."""
    limiter = RateLimiter(redis_url, events)
    yield limiter
    await limiter.close()


async def test_a_minutes_requests_may_come_at_once(limiter: RateLimiter) -> None:
    """And no more; each is told what is left, and when one more comes."""
    taken = [await limiter.take("billing", NEVER_IN_THIS_TEST) for _ in range(8)]
    assert [(t.is_allowed, t.left) for t in taken] == [(n > 0, max(n - 1, 0)) for n in (6, 5, 4, 3, 2, 1, 0, 0)]
    assert all(9 <= t.seconds <= 10 for t in taken)
    assert (await limiter.take("another", NEVER_IN_THIS_TEST)).left == 5


async def test_those_that_come_together_are_counted_together(limiter: RateLimiter, redis_proxy: Proxy) -> None:
    """In one call to Redis or two, for different keys and limits; each is told its own number."""
    await limiter.take("warm-up", 1)
    redis_proxy.requests.clear()
    many = await asyncio.gather(
        *(limiter.take("billing", NEVER_IN_THIS_TEST) for _ in range(10)), *(limiter.take("ops", 4) for _ in range(3))
    )
    assert [(t.is_allowed, t.left) for t in many[:10]] == [
        (n > 0, max(n - 1, 0)) for n in (6, 5, 4, 3, 2, 1, 0, 0, 0, 0)
    ]
    assert [(t.is_allowed, t.left) for t in many[10:]] == [(True, 3), (True, 2), (True, 1)]
    assert b"".join(redis_proxy.requests).count(b"EVAL") <= 2


async def test_a_bucket_fills_up_again(limiter: RateLimiter) -> None:
    """Evenly: of 600 a minute, one each 100 ms. What is refused costs nothing."""
    start = time.monotonic()
    allowed = sum(t.is_allowed for t in await asyncio.gather(*(limiter.take("x", 600) for _ in range(700))))
    emptied, is_allowed, asked = time.monotonic(), True, start
    # Until one is refused: however late an answer is read, all that had come in by then has passed.
    while is_allowed or asked < emptied + 2:
        asked = time.monotonic()
        is_allowed = (await limiter.take("x", 600)).is_allowed
        allowed += is_allowed
    assert 600 + 10 * (asked - emptied) - 1.1 <= allowed <= 600 + 10 * (time.monotonic() - start) + 1


async def test_the_largest_and_the_smallest_limit(limiter: RateLimiter) -> None:
    """Neither loses a request to rounding."""
    assert (await limiter.take("most", 100_000_000)).left >= 99_999_990
    first, second = await limiter.take("least", 1), await limiter.take("least", 1)
    assert (first.is_allowed, first.left, second.is_allowed) == (True, 0, False)
    assert 59 <= second.seconds <= 60
    for limit in (7, 13, 59, 61, 997):
        taken = [await limiter.take(f"odd-{limit}", limit) for _ in range(3)]
        assert [t.left for t in taken] == [limit - 1, limit - 2, limit - 3]


async def test_processes_share_a_bucket(limiter: RateLimiter, another: RateLimiter) -> None:
    """Whoever asks."""
    taken = [await which.take("billing", NEVER_IN_THIS_TEST) for _ in range(4) for which in (limiter, another)]
    assert [t.is_allowed for t in taken] == [True] * 6 + [False] * 2


async def test_a_bucket_is_gone_when_it_is_full(limiter: RateLimiter, redis: Redis) -> None:
    """Nothing stays of a key that is not used."""
    await limiter.take("billing", 60)
    assert 1_000 < await redis.pttl(f"{BUCKETS}:billing") <= 2_000


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_without_redis_each_process_counts(
    limiter: RateLimiter,
    another: RateLimiter,
    redis_proxy: Proxy,
    events: EventLog,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From what Redis said last; nobody waits for more than a moment; then Redis is asked again."""
    assert [(await limiter.take("billing", NEVER_IN_THIS_TEST)).left for _ in range(2)] == [5, 4]
    monkeypatch.setattr(rate_limit, "PATIENCE_SECONDS", PATIENCE)
    if how == "stopped":
        await redis_proxy.stop()
    else:
        redis_proxy.freeze()
    taken, times = [], []
    for _ in range(6):
        start = time.monotonic()
        taken.append(await limiter.take("billing", NEVER_IN_THIS_TEST))
        times.append(time.monotonic() - start)
    assert [t.is_allowed for t in taken] == [True] * 4 + [False] * 2
    assert [t.left for t in taken] == [3, 2, 1, 0, 0, 0]
    assert max(times) < PATIENCE + 0.1
    assert sorted(times)[-2] < PATIENCE  # only one has waited
    await events.seen(ServiceDown)
    assert sum(event.count for event in events.of(LimitedAlone)) == 6
    monkeypatch.setattr(rate_limit, "PATIENCE_SECONDS", 5.0)
    if how == "stopped":
        await redis_proxy.start()
    else:
        redis_proxy.thaw()

    async def is_shared() -> bool:
        name = f"again-{time.monotonic()}"
        await limiter.take(name, NEVER_IN_THIS_TEST)
        return (await another.take(name, NEVER_IN_THIS_TEST)).left == 4

    await until(is_shared)
    assert events.of(ServiceUp)
    assert len(events.of(ServiceDown)) == 1


async def test_an_answer_that_is_late_counts(
    limiter: RateLimiter, another: RateLimiter, redis_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process let pass by itself, while Redis was only slow, is taken from what all have."""
    await limiter.take("billing", NEVER_IN_THIS_TEST)
    monkeypatch.setattr(rate_limit, "PATIENCE_SECONDS", PATIENCE)
    redis_proxy.freeze()
    assert (await limiter.take("billing", NEVER_IN_THIS_TEST)).left == 4
    redis_proxy.thaw()
    monkeypatch.setattr(rate_limit, "PATIENCE_SECONDS", 5.0)

    async def is_taken() -> bool:
        return limiter._late is None

    await until(is_taken)
    assert (await another.take("billing", NEVER_IN_THIS_TEST)).left == 3


async def test_what_is_in_redis_may_be_anything(limiter: RateLimiter, redis: Redis, events: EventLog) -> None:
    """A flush fills the bucket; a strange value, or a time to come, makes nothing fail or stop for ever."""
    assert (await limiter.take("billing", NEVER_IN_THIS_TEST)).left == 5
    await redis.flushall()
    assert (await limiter.take("billing", NEVER_IN_THIS_TEST)).left == 5
    await redis.set(f"{BUCKETS}:billing", "9e300")
    taken = await limiter.take("billing", NEVER_IN_THIS_TEST)
    assert (taken.is_allowed, taken.left) == (False, 0)
    assert taken.seconds <= 10
    await redis.lpush(f"{BUCKETS}:strange", "x")
    assert await limiter.take("strange", NEVER_IN_THIS_TEST) == Taken(is_allowed=True, left=5, seconds=10)
    assert events.of(ServiceDown)
