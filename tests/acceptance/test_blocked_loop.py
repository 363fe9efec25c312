"""A handler that blocks the event loop, for too long and not for too long."""

import asyncio
import os
import signal

from tests.support.processes import Process, service
from tests.support.types import Connection
from tests.support.waiting import until

QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3, "handler_modules": "tests.handlers.isolated"}

SPEECHLESS = """
import asyncio, time
from app.consumer.watchdog import Watchdog

async def main():
    Watchdog(0.4, lambda event: time.sleep(60)).start()
    time.sleep(60)

asyncio.run(main())
"""


async def test_a_consumer_whose_loop_is_blocked_ends_and_says_where(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """The stack names the line that blocks; exit code 1; the task is lost once, and runs elsewhere."""
    async with service(database_url, redis_url, **QUICK, loop_blocked_seconds=2) as taskmill:
        blocked = await taskmill.start_consumer()
        task = await taskmill.create({"seconds": 60}, kind="blocking")
        await taskmill.reaches(task["id"], "processing")
        assert await blocked.exit_code(10) == 1
        output = blocked.output()
        assert "event loop blocked" in output
        assert "in _block" in output
        assert "time.sleep(payload.seconds)" in output
        await taskmill.start_consumer(loop_blocked_seconds=60)

        async def runs_again() -> bool:
            row = await sql.fetchrow("SELECT status, attempt, lost_count FROM tasks")
            return row is not None and tuple(row) == ("processing", 2, 1)

        await until(runs_again)


async def test_a_short_block_costs_nothing(database_url: str, redis_url: str, sql: Connection) -> None:
    """Longer than the lease, shorter than the watchdog's limit: the heartbeat goes on, and the task completes once."""
    async with service(database_url, redis_url, **QUICK, loop_blocked_seconds=4) as taskmill:
        await taskmill.start_consumer()
        task = await taskmill.create({"seconds": 2.5}, kind="blocking")
        await taskmill.reaches(task["id"], "completed")
        assert tuple(await sql.fetchrow("SELECT attempt, lost_count FROM tasks") or ()) == (1, 0)


async def test_time_in_which_the_process_was_stopped_does_not_count(database_url: str, redis_url: str) -> None:
    """Blocked for less than the limit, and stopped (SIGSTOP) meanwhile for longer: the watchdog stood still as well."""
    lease = {"beat_seconds": 2, "lease_seconds": 20, "handler_modules": "tests.handlers.isolated"}
    async with service(database_url, redis_url, **lease, loop_blocked_seconds=4) as taskmill:
        consumer = await taskmill.start_consumer()
        task = await taskmill.create({"seconds": 8}, kind="blocking")
        await taskmill.reaches(task["id"], "processing")
        await asyncio.sleep(1.5)  # until the watchdog waits for an answer; here the time itself is what is tested
        consumer.signal(signal.SIGSTOP)
        await asyncio.sleep(5)
        consumer.signal(signal.SIGCONT)
        await taskmill.reaches(task["id"], "completed")
        assert "blocked" not in consumer.output()


async def test_a_log_that_is_blocked_too_does_not_keep_the_process() -> None:
    """The loop may be blocked by the log's own reader: the process ends without a word then."""
    process = Process(["-c", SPEECHLESS], dict(os.environ))
    try:
        assert await process.exit_code(10) == 1
    finally:
        await process.kill()
