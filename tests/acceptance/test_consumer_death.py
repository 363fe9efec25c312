"""Consumers that die, freeze, or are told to stop."""

import asyncio
import signal
import time

from app.core.config import STOP_SECONDS
from tests.support.processes import Service, service
from tests.support.types import Connection
from tests.support.waiting import until

LONG = {"simulate_seconds": 60}
QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3}


async def _all_are(sql: Connection, status: str, count: int, seconds: float = 10) -> float:
    async def fact() -> bool:
        return bool(await sql.fetchval("SELECT count(*) FROM tasks WHERE status = $1", status) == count)

    fact.__doc__ = f"{count} tasks are {status}"
    return await until(fact, seconds)


async def _create_many(taskmill: Service, count: int, content: object) -> list[str]:
    made = await taskmill.client.post("/task/batch", json=[{"content": content}] * count)
    return [item["task"]["id"] for item in made.json()["items"]]


async def test_killed_its_tasks_run_elsewhere_within_lease_and_sweep(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """SIGKILL with the default settings: beat 2 s, lease 10 s. A poll may add its second."""
    async with service(database_url, redis_url) as taskmill:
        killed = await taskmill.start_consumer()
        await _create_many(taskmill, 50, LONG)
        await _all_are(sql, "processing", 50)
        await taskmill.start_consumer()
        killed.signal(signal.SIGKILL)
        start = time.monotonic()

        async def run_again() -> bool:
            return bool(
                await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'processing' AND attempt = 2") == 50
            )

        await until(run_again, 20)
        assert time.monotonic() - start < 10 + 2 * 1.1 + 1.1


async def test_frozen_past_its_lease_it_changes_nothing(database_url: str, redis_url: str, sql: Connection) -> None:
    """SIGSTOP: its tasks run elsewhere; awake again, it finds itself declared dead and ends, and no row moves."""
    async with service(database_url, redis_url, **QUICK) as taskmill:
        frozen = await taskmill.start_consumer()
        await _create_many(taskmill, 20, {"simulate_seconds": 0.8})
        await _all_are(sql, "processing", 20)
        frozen.signal(signal.SIGSTOP)
        await taskmill.start_consumer()
        await _all_are(sql, "completed", 20)
        before = await sql.fetch("SELECT * FROM tasks ORDER BY id")
        assert {row["attempt"] for row in before} == {2}
        frozen.signal(signal.SIGCONT)
        assert await frozen.exit_code() == 1
        assert await sql.fetch("SELECT * FROM tasks ORDER BY id") == before


async def test_told_to_stop_it_drains(database_url: str, redis_url: str, sql: Connection) -> None:
    """SIGTERM: running tasks finish, nothing new is claimed, exit code 0."""
    async with service(database_url, redis_url, consumer_concurrency=10) as taskmill:
        consumer = await taskmill.start_consumer()
        await _create_many(taskmill, 30, {"simulate_seconds": 1})
        await _all_are(sql, "processing", 10)
        consumer.signal(signal.SIGTERM)
        assert await consumer.exit_code() == 0
        await _all_are(sql, "completed", 10)
        await _all_are(sql, "pending", 20)
        assert await sql.fetchval("SELECT count(*) FROM consumers") == 0


async def test_what_does_not_finish_in_time_is_released(database_url: str, redis_url: str, sql: Connection) -> None:
    """After DRAIN_SECONDS the rest goes back to pending, no attempt burnt, and another consumer takes it at once."""
    async with service(database_url, redis_url, drain_seconds=0.5) as taskmill:
        consumer = await taskmill.start_consumer()
        await _create_many(taskmill, 5, LONG)
        await _all_are(sql, "processing", 5)
        consumer.signal(signal.SIGTERM)
        start = time.monotonic()
        assert await consumer.exit_code() == 0
        assert time.monotonic() - start < 0.5 + 3
        assert {tuple(r) for r in await sql.fetch("SELECT status, attempt FROM tasks")} == {("pending", 0)}
        await taskmill.start_consumer()
        assert await _all_are(sql, "processing", 5) < 1


async def test_told_twice_it_stops_now(database_url: str, redis_url: str, sql: Connection) -> None:
    """A second SIGTERM does not wait for the drain."""
    async with service(database_url, redis_url, drain_seconds=20) as taskmill:
        consumer = await taskmill.start_consumer()
        await _create_many(taskmill, 5, LONG)
        await _all_are(sql, "processing", 5)
        consumer.signal(signal.SIGTERM)
        await consumer.wrote("consumer draining")
        consumer.signal(signal.SIGTERM)
        assert await consumer.exit_code(5) == 0
        await _all_are(sql, "pending", 5)


async def test_a_poison_task_ends_and_its_neighbours_live(database_url: str, redis_url: str, sql: Connection) -> None:
    """It kills its consumer each time: twice among others, then alone in quarantine; then it is failed."""
    async with service(database_url, redis_url, **QUICK, consumer_concurrency=20) as taskmill:
        taskmill.env["HANDLER_MODULES"] = "tests.handlers.poison"
        poison = await _insert_kind(sql, "poison")
        innocents = await _create_many(taskmill, 1_000, {"simulate_seconds": 0.05})
        supervising = asyncio.create_task(_keep_a_consumer_alive(taskmill))
        try:
            await taskmill.reaches(poison, "failed", 40)
            await _all_are(sql, "completed", len(innocents), 20)
        finally:
            supervising.cancel()
        error, lost = (await sql.fetch("SELECT error ->> 'code', lost_count FROM tasks WHERE kind = 'poison'"))[0]
        assert (error, lost) == ("consumer_lost", 3)


async def test_quarantine_ends_with_the_consumer_that_started_it(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """Killed as well, its consumer leaves nobody to look after it: it gives its task back and ends."""
    async with service(database_url, redis_url, **QUICK, drain_seconds=0) as taskmill:
        consumer = await taskmill.start_consumer()
        await sql.execute(
            "INSERT INTO tasks (id, kind, content, lost_count)"
            " VALUES (gen_random_uuid(), 'simulate', '{\"simulate_seconds\": 60}', 2)"
        )
        await _all_are(sql, "processing", 1)
        assert await sql.fetchval("SELECT count(*) FROM consumers") == 2
        consumer.signal(signal.SIGKILL)
        await _all_are(sql, "pending", 1)
        await until(lambda: sql.fetchval("SELECT count(*) = 1 FROM consumers"))  # of the killed one


async def test_quarantine_runs_suspects_though_the_consumer_that_started_it_has_died(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """That may be while it starts: where no consumer lives for longer, suspects would wait for ever."""
    async with service(database_url, redis_url, **QUICK) as taskmill:
        await _create_many(taskmill, 2, {"simulate_seconds": 0.5})
        await sql.execute("UPDATE tasks SET lost_count = 2")
        assert await taskmill.launch_quarantine(starter=1).exit_code() == 0
        await _all_are(sql, "completed", 2)


async def test_quarantine_does_not_go_on_for_long_without_its_consumer(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """Nobody is there to end it: it claims for DRAIN_SECONDS, and leaves the rest to others."""
    async with service(database_url, redis_url, **QUICK, drain_seconds=1) as taskmill:
        await _create_many(taskmill, 50, {"simulate_seconds": 0.4})
        await sql.execute("UPDATE tasks SET lost_count = 2")
        assert await taskmill.launch_quarantine(starter=1).exit_code() == 0
        await _all_are(sql, "processing", 0)
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'pending'") > 40


async def test_quarantine_without_its_consumer_does_not_wait_for_postgresql(redis_url: str) -> None:
    """Not even until it is registered."""
    async with Service("postgresql://nobody@127.0.0.1:1/none", redis_url, drain_seconds=1) as taskmill:
        assert await taskmill.launch_quarantine(starter=1).exit_code() == 0


async def test_a_handler_that_will_not_stop_does_not_hold_its_consumer(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """It swallows its cancellation: the process ends all the same, in time, and the task is pending again."""
    async with service(database_url, redis_url, drain_seconds=0.2) as taskmill:
        taskmill.env["HANDLER_MODULES"] = "tests.handlers.poison"
        await _insert_kind(sql, "stubborn")
        consumer = await taskmill.start_consumer()
        await _all_are(sql, "processing", 1)
        consumer.signal(signal.SIGTERM)
        assert await consumer.exit_code(0.2 + STOP_SECONDS) == 0
        await _all_are(sql, "pending", 1)


async def _insert_kind(sql: Connection, kind: str) -> str:
    """The API of this test does not know the kind; its consumers do."""
    statement = "INSERT INTO tasks (id, kind, content) VALUES (gen_random_uuid(), $1, 'null') RETURNING id"
    return str(await sql.fetchval(statement, kind))


async def _keep_a_consumer_alive(taskmill: Service) -> None:
    """What Supervisor does."""
    while True:
        consumer = await taskmill.start_consumer()
        await consumer.exit_code(60)
