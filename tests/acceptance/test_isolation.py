"""Handlers in child processes, in a whole service: cancels, timeouts, crashes, and consumers that die or stop."""

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.core.config import STOP_SECONDS
from tests.support.pids import are_gone, children_of, is_alive, lines, pid_in
from tests.support.processes import Service, service
from tests.support.types import Connection
from tests.support.waiting import until

QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3, "handler_modules": "tests.handlers.isolated"}


@pytest.fixture
async def taskmill(database_url: str, redis_url: str, sql: Connection) -> AsyncIterator[Service]:
    """A service with the kinds of tests/handlers/isolated.py, and a table for their effects."""
    await sql.execute("CREATE TABLE effects (number int)")
    async with service(database_url, redis_url, **QUICK, cancel_grace_seconds=1) as running:
        yield running


async def _create(taskmill: Service, do: str, value: Any = None, file: Path | None = None, **fields: Any) -> str:
    content = {"do": do, "value": value} | ({"file": str(file)} if file else {})
    return str((await taskmill.create(content, kind="isolated", **fields))["id"])


def _oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@pytest.mark.parametrize("do", ["spin", "sleep_blocking", "ignore_sigterm"])
async def test_a_cancel_ends_a_handler_that_never_awaits(taskmill: Service, tmp_path: Path, do: str) -> None:
    """`while True: pass`, a blocking call, and SIGTERM ignored: gone within a second and the grace (1 s) of the 200."""
    await taskmill.start_consumer()
    file = tmp_path / "notes"
    task_id = await _create(taskmill, do, file=file)
    pid = await pid_in(file)
    start = time.monotonic()
    answer = await taskmill.client.patch(f"/task/{task_id}/cancel")
    assert answer.json()["status"] == "canceled"
    await are_gone(pid)
    took = time.monotonic() - start
    assert took < (2 if do == "ignore_sigterm" else 1), took
    await taskmill.reaches(await _create(taskmill, "pid"), "completed")
    assert (await taskmill.get(task_id))["status"] == "canceled"


async def test_a_timeout_ends_a_busy_loop(taskmill: Service, tmp_path: Path) -> None:
    """Each attempt is stopped when its time is over, which begins when its child is there; then it is failed."""
    await taskmill.start_consumer()
    file = tmp_path / "notes"
    task_id = await _create(taskmill, "spin", file=file, timeout_seconds=0.3, max_attempts=2)
    await taskmill.reaches(task_id, "failed")
    task = await taskmill.get(task_id)
    assert task["error"]["code"] == "timeout"
    assert [error["code"] for error in task["history"]] == ["timeout"]
    assert lines(file).count("canceled: True") == 2


async def test_crashes_fail_their_own_tasks_alone(taskmill: Service, sql: Connection) -> None:
    """Segfaults, os._exit and SIGKILL, three attempts of each: the innocents among them, in children and on the loop.

    All complete at their first attempt, on the one consumer that there is.
    """
    consumer = await taskmill.start_consumer()
    guilty = [await _create(taskmill, do, max_attempts=3) for do in ("segfault", "exit", "kill")]
    isolated = [await _create(taskmill, "nap", 0.05) for _ in range(20)]
    on_loop = [(await taskmill.create({"simulate_seconds": 0.3}))["id"] for _ in range(20)]
    for task_id in guilty:
        await taskmill.reaches(task_id, "failed", 30)
    for task_id in isolated + on_loop:
        await taskmill.reaches(task_id, "completed", 30)
    errors = {task_id: (await taskmill.get(task_id))["error"] for task_id in guilty}
    assert [error["message"] for error in errors.values()] == [
        f"The handler's process died: {how}" for how in ("SIGSEGV", "exit code 3", "SIGKILL")
    ]
    assert {error["code"] for error in errors.values()} == {"handler_error"}
    rows = await sql.fetch("SELECT status, attempt, lost_count, count(*) FROM tasks GROUP BY 1, 2, 3 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("completed", 1, 0, 40), ("failed", 3, 0, 3)]
    assert consumer.exit is None


async def test_results_progress_and_cursors_come_back(taskmill: Service, sql: Connection) -> None:
    """Ten effects in checkpoints; the process dies after five, and the second attempt goes on: each once."""
    await taskmill.start_consumer()
    task_id = await _create(taskmill, "checkpoint")
    await taskmill.reaches(task_id, "completed")
    task = await taskmill.get(task_id)
    assert task["result"] == {"start": 5, "attempt": 2, "payload": "checkpoint"}
    assert task["progress"] == {"done": 10, "total": 10, "message": "counted"}
    assert "exit code 9" in task["history"][0]["message"]
    assert [row[0] for row in await sql.fetch("SELECT number FROM effects ORDER BY number")] == list(range(10))


async def test_a_killed_consumer_leaves_no_child(taskmill: Service, sql: Connection, tmp_path: Path) -> None:
    """SIGKILL: idle or busy, its children end with it, also one that lets no thread run. The tasks run elsewhere."""
    killed = await taskmill.start_consumer(child_processes=3)
    files = [tmp_path / "spin", tmp_path / "hold_gil"]
    ids = [await _create(taskmill, file.name, file=file) for file in files]
    for file in files:
        await pid_in(file)
    await taskmill.reaches(await _create(taskmill, "pid"), "completed")
    (server,) = children_of(killed.pid)
    children = children_of(server)
    assert len(children) == 3
    assert {_oom_score(pid) for pid in children} == {min(1_000, _oom_score(killed.pid) + 500)}
    killed.signal(signal.SIGKILL)
    await are_gone(server, *children, seconds=1)
    await taskmill.start_consumer()

    async def run_again() -> bool:
        return [row[0] for row in await sql.fetch("SELECT attempt FROM tasks WHERE status = 'processing'")] == [2, 2]

    await until(run_again)
    for task_id in ids:
        await taskmill.client.patch(f"/task/{task_id}/cancel")


async def test_a_consumer_ends_with_its_fork_server(taskmill: Service, sql: Connection, tmp_path: Path) -> None:
    """SIGTERM, which may be meant for all by their name, does nothing to it; SIGKILL leaves none to start children."""
    consumer = await taskmill.start_consumer()
    task_id = await _create(taskmill, "sleep_blocking", file=tmp_path / "notes")
    child = await pid_in(tmp_path / "notes")
    (server,) = children_of(consumer.pid)
    os.kill(server, signal.SIGTERM)
    await taskmill.reaches(await _create(taskmill, "pid"), "completed")
    os.kill(server, signal.SIGKILL)
    assert await consumer.exit_code() == 1
    assert "ForkServerDiedError" in consumer.output()
    await are_gone(child)
    await taskmill.start_consumer()

    async def runs_again() -> bool:
        return bool(await sql.fetchval("SELECT attempt FROM tasks WHERE status = 'processing'") == 2)

    await until(runs_again)
    await taskmill.client.patch(f"/task/{task_id}/cancel")


async def test_the_child_of_a_frozen_consumer_writes_nothing_more(
    taskmill: Service, sql: Connection, tmp_path: Path
) -> None:
    """SIGSTOP: the child goes on, and its first checkpoint after the recovery raises LostClaim; no effect is left."""
    frozen = await taskmill.start_consumer(child_processes=1)
    file = tmp_path / "notes"
    task_id = await _create(taskmill, "checkpoint_until_lost", file=file)
    child = await pid_in(file)
    frozen.signal(signal.SIGSTOP)
    await taskmill.start_consumer()

    async def is_lost() -> bool:
        return "lost its claim" in lines(file)

    await until(is_lost)
    await taskmill.client.patch(f"/task/{task_id}/cancel")
    effects = await sql.fetchval("SELECT count(*) FROM effects WHERE number = 1")
    cursor = await sql.fetchval("SELECT cursor::text::int FROM tasks")
    assert cursor is not None
    assert effects > 0
    frozen.signal(signal.SIGCONT)
    assert await frozen.exit_code() == 1
    await are_gone(child)
    assert await sql.fetchval("SELECT count(*) FROM effects WHERE number = 1") == effects


async def test_a_drain_lets_children_finish(taskmill: Service, sql: Connection, tmp_path: Path) -> None:
    """SIGTERM to the consumer: what its children do is finished and recorded, exit code 0, and nobody is left."""
    consumer = await taskmill.start_consumer()
    files = [tmp_path / "a", tmp_path / "b"]
    ids = [await _create(taskmill, "nap", 1, file) for file in files]
    pids = [await pid_in(file) for file in files]
    consumer.signal(signal.SIGTERM)
    assert await consumer.exit_code() == 0
    assert [(await taskmill.get(task_id))["status"] for task_id in ids] == ["completed"] * 2
    assert not any(map(is_alive, pids))
    assert await sql.fetchval("SELECT count(*) FROM consumers") == 0


async def test_what_children_do_not_finish_in_time_is_released(
    taskmill: Service, sql: Connection, tmp_path: Path
) -> None:
    """A busy loop and one that ignores SIGTERM: stopped after DRAIN_SECONDS, pending again, no attempt burnt."""
    consumer = await taskmill.start_consumer(drain_seconds=0.5)
    files = [tmp_path / "spin", tmp_path / "ignore_sigterm"]
    for file in files:
        await _create(taskmill, file.name, file=file)
    pids = [await pid_in(file) for file in files]
    consumer.signal(signal.SIGTERM)
    start = time.monotonic()
    assert await consumer.exit_code() == 0
    assert time.monotonic() - start < 0.5 + STOP_SECONDS
    assert not any(map(is_alive, pids))
    rows = await sql.fetch("SELECT status, attempt, lost_count FROM tasks")
    assert [tuple(row) for row in rows] == [("pending", 0, 0)] * 2


async def test_a_terminal_interrupt_reaches_no_child(taskmill: Service, tmp_path: Path) -> None:
    """Ctrl-C goes to the whole group: the consumer drains, and the child finishes what it does."""
    consumer = await taskmill.start_consumer()
    file = tmp_path / "notes"
    task_id = await _create(taskmill, "nap", 1, file)
    await pid_in(file)
    os.killpg(consumer.pid, signal.SIGINT)
    assert await consumer.exit_code() == 0
    assert (await taskmill.get(task_id))["status"] == "completed"


async def test_cancels_of_many_children_are_quick(taskmill: Service, tmp_path: Path) -> None:
    """Ten busy loops in turn: from the answer to the end of the process; the median is far below the second allowed."""
    await taskmill.start_consumer()
    took = []
    for number in range(10):
        file = tmp_path / str(number)
        task_id = await _create(taskmill, "spin", file=file)
        pid = await pid_in(file)
        await taskmill.client.patch(f"/task/{task_id}/cancel")
        start = time.monotonic()
        await are_gone(pid)
        took.append(time.monotonic() - start)
    assert sorted(took)[5] < 0.5, took
    assert max(took) < 1, took


async def test_children_start_only_where_they_are_needed(database_url: str, redis_url: str) -> None:
    """A consumer without isolated kinds has none."""
    async with service(database_url, redis_url) as taskmill:
        consumer = await taskmill.start_consumer()
        await taskmill.reaches((await taskmill.create({"simulate_seconds": 0}))["id"], "completed")
        (server,) = children_of(consumer.pid)
        assert children_of(server) == []
