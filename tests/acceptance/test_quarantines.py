"""Consumers with suspects in quarantine: several at once, and told to stop."""

import signal

from tests.support.processes import Service, service
from tests.support.types import Connection
from tests.support.waiting import until

QUICK = {"poll_seconds": 0.2}


async def _insert_suspects(sql: Connection, count: int, seconds: float) -> None:
    """Tasks that were lost twice: they fail when they are lost once more."""
    await sql.execute(
        "INSERT INTO tasks (id, kind, content, lost_count)"
        " SELECT gen_random_uuid(), 'simulate', json_build_object('simulate_seconds', $2::float8), 2"
        " FROM generate_series(1, $1)",
        count,
        seconds,
    )


async def _all_are(sql: Connection, status: str, count: int, seconds: float = 60) -> None:
    async def fact() -> bool:
        return bool(await sql.fetchval("SELECT count(*) FROM tasks WHERE status = $1", status) == count)

    await until(fact, seconds, what=f"{count} tasks are {status}")


async def _stop_with_a_suspect(taskmill: Service, sql: Connection, seconds: float) -> tuple[object, ...]:
    """Tell a consumer to stop that runs nothing but a suspect of so many seconds; what has become of it."""
    consumer = await taskmill.start_consumer()
    await _insert_suspects(sql, 1, seconds)
    await _all_are(sql, "processing", 1)
    consumer.signal(signal.SIGTERM)
    assert await consumer.exit_code() == 0
    return tuple((await sql.fetch("SELECT status, attempt, lost_count FROM tasks"))[0])


async def test_a_consumer_that_stops_waits_for_its_suspect(database_url: str, redis_url: str, sql: Connection) -> None:
    """It has nothing of its own to run. Killed with its quarantine, the suspect would be failed."""
    async with service(database_url, redis_url, **QUICK, drain_seconds=10) as taskmill:
        assert await _stop_with_a_suspect(taskmill, sql, 4) == ("completed", 1, 2)


async def test_a_suspect_that_does_not_finish_in_time_is_released(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """As any other task: no attempt burnt, and not one more loss."""
    async with service(database_url, redis_url, **QUICK, drain_seconds=2.5) as taskmill:
        assert await _stop_with_a_suspect(taskmill, sql, 60) == ("pending", 0, 2)


async def test_a_suspect_is_released_where_there_is_no_drain(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """The quarantine gives it back while its consumer closes."""
    async with service(database_url, redis_url, **QUICK, drain_seconds=0) as taskmill:
        assert await _stop_with_a_suspect(taskmill, sql, 60) == ("pending", 0, 2)


async def test_suspects_run_beside_each_other_each_in_its_process(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """One consumer has up to CHILD_PROCESSES quarantines, so that suspects do not all wait for one another."""
    async with service(database_url, redis_url, **QUICK, child_processes=3) as taskmill:
        await taskmill.start_consumer()
        await _insert_suspects(sql, 6, 2)
        await _all_are(sql, "completed", 6, 60)
    pairs = await sql.fetch("""
        SELECT a.consumer_id = b.consumer_id AS is_same_process FROM tasks a JOIN tasks b ON a.id < b.id
        WHERE a.started_at < b.finished_at AND b.started_at < a.finished_at
    """)
    assert pairs
    assert not any(row["is_same_process"] for row in pairs)
    assert await sql.fetchval("SELECT count(DISTINCT consumer_id) FROM tasks") <= 3
