"""Ticks of schedules, by real consumers: in time, and each with one task, whoever dies."""

import asyncio
import random
import signal
from collections import Counter

from tests.support.processes import service
from tests.support.types import Connection
from tests.support.waiting import until

QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3, "simulate_seconds": 0}
MINUTELY = {"cron": "* * * * *", "content": "hello"}


async def test_each_tick_has_one_task_while_consumers_are_killed(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """Of three consumers one is killed at every tick, within the beat that makes it: all ticks have one task each."""
    rounds, schedules, made = 8, 5, []
    async with service(database_url, redis_url, **QUICK) as taskmill:
        consumers = [await taskmill.start_consumer() for _ in range(3)]
        for n in range(schedules):
            assert (await taskmill.client.put(f"/schedule/s{n}", json=MINUTELY)).status_code == 201
        # Where none is due just now, so that no tick is lost to this test itself.
        set_back = (
            "UPDATE schedules SET next_run_at = now() WHERE next_run_at > clock_timestamp() RETURNING next_run_at"
        )
        for _ in range(rounds):
            made += [row[0] for row in await sql.fetch(set_back)]
            await asyncio.sleep(random.uniform(0, 0.35))
            consumers.pop(0).signal(signal.SIGKILL)
            consumers.append(await taskmill.start_consumer())
            await until(lambda: sql.fetchval("SELECT bool_and(next_run_at > now()) FROM schedules"), 20)
        await until(lambda: sql.fetchval("SELECT bool_and(status = 'completed') FROM tasks"), 30)
        assert len(made) >= rounds * schedules - schedules  # a minute may have ended in between, whose tick came first
        tasks = Counter(row[0] for row in await sql.fetch("SELECT run_at FROM tasks"))
        assert {tick: tasks[tick] for tick in made} == Counter(made)
        assert max(tasks.values()) == schedules
        assert all(tick in made or tick.second == tick.microsecond == 0 for tick in tasks)


async def test_a_tick_is_started_within_a_beat(database_url: str, redis_url: str, sql: Connection) -> None:
    """With the default settings: 2 s and what a beat may vary by; and the task is one as any other."""
    async with service(database_url, redis_url, simulate_seconds=0) as taskmill:
        await taskmill.start_consumer()
        await taskmill.client.put("/schedule/minutely", json=MINUTELY)
        await sql.execute("UPDATE schedules SET next_run_at = clock_timestamp()")
        took = await until(lambda: sql.fetchval("SELECT last_task_id FROM schedules"), 10)
        assert took < 2 * 1.1 + 1
        schedule = (await taskmill.client.get("/schedule/minutely")).json()
        await taskmill.reaches(schedule["last_task_id"], "completed")
        task = await taskmill.get(schedule["last_task_id"])
        assert task["run_at"] == schedule["last_run_at"]
        assert task["content"] == "hello"


async def test_a_tick_of_a_kind_that_nobody_here_knows(database_url: str, redis_url: str, sql: Connection) -> None:
    """As during a deployment: the consumer makes the task, and leaves it to one that knows the kind."""
    async with service(database_url, redis_url, **QUICK) as taskmill:
        await taskmill.start_consumer()
        await taskmill.client.put("/schedule/minutely", json=MINUTELY)
        await sql.execute("UPDATE schedules SET kind = 'another', next_run_at = clock_timestamp()")
        await until(lambda: sql.fetchval("SELECT kind = 'another' AND status = 'pending' FROM tasks"))
