"""Redis: hints that may be lost, and never make anything wait."""

import asyncio
import time
from collections.abc import Awaitable
from typing import cast
from uuid import UUID, uuid4

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from app.core.errors import WakeupUnavailableError
from app.core.events import ServiceDown, ServiceUp
from app.queue import wakeup as wakeup_module
from app.queue.listen import stay_subscribed
from app.queue.wakeup import Wakeup
from tests.integration.conftest import LIST, WANTED, hint
from tests.support.proxy import Proxy
from tests.support.servers import Servers
from tests.support.waiting import EventLog, until


async def test_ids_are_popped_in_order_and_once(wakeup: Wakeup) -> None:
    """First in, first out, at most as many as asked for."""
    ids = [uuid4() for _ in range(5)]
    wakeup.push([hint(task_id) for task_id in ids[:2]])
    wakeup.push([hint(task_id) for task_id in ids[2:]])
    popped: list[UUID] = []

    async def all_there() -> bool:
        popped.extend(found.id for found in await wakeup.pop(WANTED, 2, 0.1))
        return len(popped) >= 5

    await until(all_there)
    assert popped == ids
    assert await wakeup.pop(WANTED, 2, 0.01) == []


async def test_a_push_is_sent_before_anything_else_is_done(wakeup: Wakeup, servers: Servers) -> None:
    """In its first turn of the loop: the answer to the create, which is ready too, keeps no consumer waiting."""
    await wakeup.ping()  # connects
    task_id = uuid4()
    wakeup.push([hint(task_id)])
    await asyncio.sleep(0)
    with SyncRedis.from_url(servers.redis_url) as redis:  # from here on this loop does nothing
        popped = cast("tuple[bytes, bytes] | None", redis.blpop([LIST], timeout=2))
    assert popped is not None
    assert popped[1].decode() == str(task_id)


async def test_a_list_that_nobody_reads_ends_somewhere(
    wakeup: Wakeup, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest ids stay; of the other tasks polls know."""
    monkeypatch.setattr(wakeup_module, "_LONGEST_LIST", 10)
    ids = [uuid4() for _ in range(25)]
    for task_id in ids:
        wakeup.push([hint(task_id)])
        await wakeup._pushes.drain()
    assert await cast("Awaitable[list[bytes]]", redis.lrange(LIST, 0, -1)) == [str(each).encode() for each in ids[:10]]


async def test_a_redis_that_is_away_costs_no_one_time(redis_proxy: Proxy, events: EventLog, redis: Redis) -> None:
    """Pushing returns at once whether Redis refuses or hangs; said once an outage; used again when it is back."""
    wakeup = Wakeup(redis_proxy.url, events)
    try:
        await wakeup.ping()
        redis_proxy.freeze()
        for _ in range(3):
            start = time.monotonic()
            wakeup.push([hint(uuid4())])
            assert time.monotonic() - start < 0.01
        await events.seen(ServiceDown)
        await redis_proxy.stop()
        with pytest.raises(WakeupUnavailableError):
            await wakeup.pop(WANTED, 1, 0.1)
        await redis_proxy.start()

        async def is_used_again() -> bool:
            wakeup.push([hint(uuid4())])
            return bool(await redis.llen(LIST))

        await until(is_used_again)
        await events.seen(ServiceUp)
        assert len(events.of(ServiceDown)) == 1
    finally:
        await wakeup.close()


async def test_connections_that_broke_while_idle_are_replaced(
    redis_proxy: Proxy, events: EventLog, redis: Redis
) -> None:
    """The first call after an outage does not fail, and so does not silence those that come after it."""
    wakeup = Wakeup(redis_proxy.url, events)
    try:
        await wakeup.ping()  # connects
        await redis_proxy.stop()
        await redis_proxy.start()
        await redis.ping()  # after which this loop has heard of the end
        await wakeup.ping()
    finally:
        await wakeup.close()


async def test_a_push_without_an_answer_is_not_repeated(redis_proxy: Proxy, events: EventLog, redis: Redis) -> None:
    """One RPUSH, one id in the list: repeating it would only make more of it."""
    wakeup = Wakeup(redis_proxy.url, events)
    try:
        await wakeup.ping()
        redis_proxy.cut_reply_to(lambda data: b"RPUSH" in data)
        wakeup.push([hint(uuid4())])
        await events.seen(ServiceDown)
        assert redis_proxy.replies_cut == 1
        assert await redis.llen(LIST) == 1
    finally:
        await wakeup.close()


async def test_cancels_are_heard_again_after_an_outage(redis_proxy: Proxy, events: EventLog, wakeup: Wakeup) -> None:
    """The subscription comes back by itself."""
    heard: set[UUID] = set()
    listening = asyncio.create_task(stay_subscribed(redis_proxy.url, events, heard.add))
    try:
        for outage in (False, True):
            if outage:
                await redis_proxy.stop()
                await events.seen(ServiceDown)
                await redis_proxy.start()
            task_id = uuid4()

            async def is_heard(task_id: UUID = task_id) -> bool:
                wakeup.announce_canceled([task_id])
                return task_id in heard

            await until(is_heard)
    finally:
        listening.cancel()
