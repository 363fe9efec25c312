"""Promise 5: Redis is optional at run time."""

import asyncio
import time

from redis.asyncio import Redis

from app.core.task import Priority
from app.queue.wakeup import list_name
from tests.support.processes import Service, service
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import until

LIST = list_name(Priority.NORMAL, "simulate")


async def _usual_create_seconds(taskmill: Service) -> float:
    times = []
    for _ in range(20):
        start = time.monotonic()
        await taskmill.create()
        times.append(time.monotonic() - start)
    return max(times)


async def test_work_goes_on_without_redis(database_url: str, redis_proxy: Proxy, redis: Redis, sql: Connection) -> None:
    """Refused, then hanging: creates as quick as usual, starts within 1.5 s, cancels. Then Redis is used again."""
    async with service(database_url, redis_proxy.url, simulate_seconds=0) as taskmill:
        consumer = await taskmill.start_consumer()
        usual = await _usual_create_seconds(taskmill)
        for fail in ("stop", "freeze"):
            if fail == "stop":
                await redis_proxy.stop()
            else:
                redis_proxy.freeze()
            for _ in range(3):
                start = time.monotonic()
                task = await taskmill.create()
                assert time.monotonic() - start < usual + 0.1
                assert await taskmill.reaches(task["id"], "completed") < 1.5
            running = await taskmill.create({"simulate_seconds": 60})
            await taskmill.reaches(running["id"], "processing")
            assert (await taskmill.client.patch(f"/task/{running['id']}/cancel")).status_code == 200
            await consumer.wrote(f"another consumer's\" task_id={running['id']}", 5)  # stopped by the beat
            assert (await taskmill.client.get("/readyz")).json()["status"] == "warn"
            assert (await taskmill.client.get("/health")).status_code == 200
            if fail == "stop":
                await redis_proxy.start()
            else:
                redis_proxy.thaw()
            await _redis_is_used_again(taskmill)
        attempts = await sql.fetch("SELECT DISTINCT attempt FROM tasks WHERE status = 'completed'")
        assert [row[0] for row in attempts] == [1]
        assert await redis.llen(LIST) <= 100


async def _redis_is_used_again(taskmill: Service) -> None:
    """With Redis a task starts within milliseconds; polls alone take up to a second."""

    async def five_start_at_once() -> bool:
        for _ in range(5):
            task = await taskmill.create()
            if await taskmill.reaches(task["id"], "completed") > 0.25:
                return False
        return True

    await until(five_start_at_once, seconds=20)


async def test_a_flushed_redis_loses_nothing(database_url: str, redis_url: str, redis: Redis) -> None:
    """All ids are gone before a consumer starts; every task runs."""
    async with service(database_url, redis_url, simulate_seconds=0) as taskmill:
        tasks = await asyncio.gather(*(taskmill.create() for _ in range(200)))
        await until(lambda: redis.llen(LIST))
        await redis.flushall()
        await taskmill.start_consumer()
        for task in tasks:
            await taskmill.reaches(task["id"], "completed")
