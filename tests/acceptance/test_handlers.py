"""Kinds of one's own, from HANDLER_MODULES: retries, time, order, queues and keys, with real consumers."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.processes import Service, service
from tests.support.types import Connection
from tests.support.waiting import until

QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3, "handler_modules": "tests.handlers.work"}


@pytest.fixture
async def taskmill(database_url: str, redis_url: str) -> AsyncIterator[Service]:
    """An API that knows the kinds of tests/handlers/work.py, and no consumer yet."""
    async with service(database_url, redis_url, **QUICK) as running:
        yield running


async def _all_end(taskmill: Service, ids: list[str], status: str = "completed", seconds: float = 20) -> None:
    for task_id in ids:
        await taskmill.reaches(task_id, status, seconds)


async def test_an_attempt_that_fails_is_tried_again(taskmill: Service) -> None:
    """Twice failed and then done: attempts, history and result are told."""
    await taskmill.start_consumer()
    task = await taskmill.create({"failures": 2, "after": None}, kind="flaky")
    assert (task["attempt"], task["max_attempts"]) == (0, 3)
    await taskmill.reaches(task["id"], "completed")
    ended = await taskmill.get(task["id"])
    assert ended["result"] == {"attempts": 3}
    assert ended["attempt"] == 3
    assert ended["error"] is None
    assert [(e["attempt"], e["code"], e["message"]) for e in ended["history"]] == [
        (1, "handler_error", "ValueError: failure 1"),
        (2, "handler_error", "ValueError: failure 2"),
    ]
    times = [datetime.fromisoformat(ended[name]) for name in ("created_at", "run_at", "started_at", "finished_at")]
    assert times == sorted(times)


async def test_no_attempts_left_is_failed_and_a_client_may_retry(taskmill: Service) -> None:
    """All attempts are there again, and what went wrong before is not forgotten."""
    await taskmill.start_consumer()
    task = await taskmill.create({"failures": 1}, kind="flaky", max_attempts=1)
    path = f"/task/{task['id']}/retry"
    await taskmill.reaches(task["id"], "failed")
    failed = await taskmill.get(task["id"])
    assert failed["error"].keys() == {"code", "message", "attempt", "at"}
    assert (failed["error"]["message"], failed["error"]["attempt"]) == ("failure 1", 1)
    retried = await taskmill.client.patch(path)
    assert retried.status_code == 200
    assert (retried.json()["status"], retried.json()["error"]) == ("pending", None)
    assert retried.json()["history"] == [failed["error"]]
    await taskmill.reaches(task["id"], "failed")
    assert len((await taskmill.get(task["id"]))["history"]) == 1


async def test_only_a_failed_task_can_be_retried(taskmill: Service) -> None:
    """409 says what it is instead; what is not there is 404."""
    task = await taskmill.create({"seconds": 60}, kind="sleep")
    for status in ("pending", "processing", "canceled"):
        if status == "processing":
            await taskmill.start_consumer()
            await taskmill.reaches(task["id"], status)
        if status == "canceled":
            await taskmill.client.patch(f"/task/{task['id']}/cancel")
        answer = await taskmill.client.patch(f"/task/{task['id']}/retry")
        assert answer.status_code == 409
        assert answer.json()["detail"] == f"The task is {status}; only a failed task can be retried."
    assert (await taskmill.client.patch("/task/x/retry")).status_code == 404


async def test_a_timeout_of_the_task_is_enforced(taskmill: Service) -> None:
    """It overrides the kind's."""
    await taskmill.start_consumer()
    task = await taskmill.create({"seconds": 60}, kind="sleep", timeout_seconds=0.3, max_attempts=1)
    assert await taskmill.reaches(task["id"], "failed") < 3
    error = (await taskmill.get(task["id"]))["error"]
    assert (error["code"], error["message"]) == ("timeout", "It was stopped after 0.3 s.")


@pytest.mark.parametrize("how", ["run_at", "delay_seconds"])
async def test_a_delayed_task_starts_within_a_poll_of_its_time(taskmill: Service, how: str) -> None:
    """Not before."""
    await taskmill.start_consumer()
    at = datetime.now(UTC) + timedelta(seconds=1.5)
    options: dict[str, Any] = {"run_at": at.isoformat()} if how == "run_at" else {"delay_seconds": 1.5}
    task = await taskmill.create({"seconds": 0}, kind="sleep", **options)
    due = datetime.fromisoformat(task["run_at"])
    assert abs((due - at).total_seconds()) < 1
    await taskmill.reaches(task["id"], "completed")
    started = datetime.fromisoformat((await taskmill.get(task["id"]))["started_at"])
    assert 0 <= (started - due).total_seconds() < 0.3 + 1  # a poll, and what a busy machine adds


async def test_a_time_that_has_passed_is_at_once(taskmill: Service) -> None:
    """It is announced as any other."""
    await taskmill.start_consumer(poll_seconds=60)
    task = await taskmill.create({"seconds": 0}, kind="sleep", run_at="2020-01-01T00:00:00Z")
    assert await taskmill.reaches(task["id"], "completed") < 5


@pytest.mark.parametrize("from_redis", [True, False])
async def test_higher_priorities_start_first(taskmill: Service, sql: Connection, *, from_redis: bool) -> None:
    """Whatever the order in which they came, and wherever the consumer hears of them."""
    ids: dict[str, list[str]] = {"low": [], "normal": [], "high": []}
    for _ in range(5):
        for priority, created in ids.items():
            created.append((await taskmill.create({"seconds": 0}, kind="sleep", priority=priority))["id"])
    settings: dict[str, object] = {"consumer_concurrency": 1}
    if not from_redis:
        settings["redis_url"] = "redis://127.0.0.1:1/0"
    await taskmill.start_consumer(**settings)
    for created in ids.values():
        await _all_end(taskmill, created)
    rows = await sql.fetch("SELECT id::text FROM tasks ORDER BY started_at")
    assert [row[0] for row in rows] == ids["high"] + ids["normal"] + ids["low"]


async def test_slow_work_in_its_own_queue_holds_up_nobody(taskmill: Service) -> None:
    """A consumer that serves the other queue is free for it, and leaves the slow ones alone."""
    await taskmill.start_consumer(consumer_queues="default", consumer_concurrency=2)
    slow = [(await taskmill.create({"seconds": 0.1}, kind="slow_sleep"))["id"] for _ in range(5)]
    fast = [(await taskmill.create({"seconds": 0}, kind="sleep"))["id"] for _ in range(5)]
    await _all_end(taskmill, fast)
    assert {(await taskmill.get(task_id))["status"] for task_id in slow} == {"pending"}
    await taskmill.start_consumer(consumer_queues=" slow ,", consumer_concurrency=2)
    await _all_end(taskmill, slow)


async def test_tasks_with_one_key_take_turns(taskmill: Service, sql: Connection) -> None:
    """Over two consumers: never more at once than the limit, each limit reached, and other keys not held up."""
    await taskmill.start_consumer()
    await taskmill.start_consumer()
    options: list[dict[str, Any]] = [
        *[{"concurrency_key": "one"}] * 6,
        *[{"concurrency_key": "three", "concurrency_limit": 3}] * 9,
    ]
    created = await asyncio.gather(*(taskmill.create({"seconds": 0.2}, kind="sleep", **o) for o in options))
    await _all_end(taskmill, [task["id"] for task in created])
    rows = await sql.fetch(
        "SELECT a.concurrency_key, max(others.count) FROM tasks a CROSS JOIN LATERAL (SELECT count(*) FROM tasks b"
        " WHERE b.concurrency_key = a.concurrency_key AND b.started_at <= a.started_at AND b.finished_at > a.started_at"
        ") AS others GROUP BY 1"
    )
    assert {row[0]: row[1] for row in rows} == {"one": 1, "three": 3}


async def test_a_killed_consumers_key_is_free_after_its_lease(taskmill: Service) -> None:
    """Its own task first: it has waited longest."""
    first = await taskmill.start_consumer()
    tasks = [
        (await taskmill.create({"seconds": seconds}, kind="sleep", concurrency_key="k"))["id"] for seconds in (1, 0)
    ]
    await taskmill.reaches(tasks[0], "processing")
    first.signal(signal.SIGKILL)
    await taskmill.start_consumer()
    await _all_end(taskmill, tasks)
    assert (await taskmill.get(tasks[0]))["attempt"] == 2


async def test_a_kind_that_is_not_there_says_so_at_the_start(database_url: str, redis_url: str) -> None:
    """One line that names the setting, and no start."""
    for setting, value, message in (
        ("handler_modules", "tests.handlers.nowhere", "HANDLER_MODULES: importing tests.handlers.nowhere fails"),
        ("handler_modules", "tests.handlers", "HANDLER_MODULES: tests.handlers has no HANDLERS"),
        ("handler_modules", "tests.handlers.same", "HANDLER_MODULES: there are two handlers of kind 'simulate'"),
        (
            "consumer_queues",
            "slwo",
            "CONSUMER_QUEUES: no kind has the queue 'slwo'; there are: bulk, ",
        ),
    ):
        async with Service(database_url, redis_url, **{setting: value}) as taskmill:
            consumer = taskmill.launch_consumer()
            assert await consumer.exit_code() == 2
            assert message in consumer.output()
            assert consumer.output().count("\n") == 1


async def test_progress_is_told_while_it_runs(taskmill: Service, sql: Connection) -> None:
    """And the cursor is kept for the next attempt."""
    await sql.execute("CREATE TABLE numbers (n int PRIMARY KEY)")
    await taskmill.start_consumer()
    task = await taskmill.create({"rows": 30, "step": 10, "pause": 0.3}, kind="number_rows")
    seen: list[float] = []

    async def is_done() -> bool:
        view = await taskmill.get(task["id"])
        if view["progress"]:
            seen.append(view["progress"]["done"])
        return bool(view["status"] == "completed")

    await until(is_done)
    assert seen == sorted(seen)
    assert set(seen) >= {10, 20, 30}
    assert (await taskmill.get(task["id"]))["result"] == {"rows": 30}


async def test_a_task_that_was_waiting_can_be_canceled(taskmill: Service) -> None:
    """Delayed, blocked by its key, or between two attempts."""
    await taskmill.start_consumer()
    await taskmill.create({"seconds": 60}, kind="sleep", concurrency_key="k")
    waiting = [
        await taskmill.create({"seconds": 0}, kind="sleep", delay_seconds=600),
        await taskmill.create({"seconds": 0}, kind="sleep", concurrency_key="k"),
        await taskmill.create({"failures": 2, "after": 600}, kind="flaky"),
    ]

    async def has_failed_once() -> bool:
        return bool((await taskmill.get(waiting[2]["id"]))["history"])

    await until(has_failed_once)
    start = time.monotonic()
    for task in waiting:
        answer = await taskmill.client.patch(f"/task/{task['id']}/cancel")
        assert answer.json()["status"] == "canceled"
    assert time.monotonic() - start < 5
