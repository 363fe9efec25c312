"""Children are started when they are needed, reused, replaced and ended."""

import asyncio
import os
import resource
import time
from pathlib import Path

import pytest

from app.consumer.children import ChildPool
from app.consumer.verdict import JsonText
from app.core.events import ChildNotStarted, ChildReplaced, ChildStarted
from app.handler_api.outcome import Done, Snooze
from tests.integration.children.conftest import Pool, job, unlimited
from tests.support.pids import are_gone, pid_in
from tests.support.waiting import EventLog, until


async def test_a_child_is_reused(pool: ChildPool) -> None:
    """Started once: the tasks that follow find the same process, which is not the consumer's."""
    pids = [await pool.run(job("pid"), unlimited) for _ in range(5)]
    assert len({str(pid) for pid in pids}) == 1
    assert pids[0] != Done(JsonText(str(os.getpid())))


async def test_two_at_once_are_in_two_children(pool: ChildPool) -> None:
    """As many as are needed at once."""
    first, second = await asyncio.gather(pool.run(job("pid"), unlimited), pool.run(job("pid"), unlimited))
    assert first != second
    assert await pool.run(job("pid"), unlimited) in (first, second)


async def test_a_child_is_replaced_after_its_number_of_tasks(make_pool: Pool, events: EventLog) -> None:
    """CHILD_MAX_TASKS of 3: three tasks a process."""
    pool = make_pool(child_max_tasks=3)
    pids = [str(await pool.run(job("pid"), unlimited)) for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
    assert "3 tasks" in events.of(ChildReplaced)[0].reason


async def test_a_child_is_replaced_for_its_memory(make_pool: Pool, events: EventLog) -> None:
    """What holds more than CHILD_MEMORY_MB after a task does not run the next."""
    pool = make_pool(child_memory_mb=300)
    small = await pool.run(job("grow", 1), unlimited)
    assert await pool.run(job("grow", 300), unlimited) == small
    assert await pool.run(job("pid"), unlimited) != small
    assert "MB" in events.of(ChildReplaced)[0].reason


async def test_garbage_does_not_count_as_memory(make_pool: Pool) -> None:
    """What nothing refers to any more is let go before a child is replaced for it."""
    pool = make_pool(child_memory_mb=300)
    pids = [await pool.run(job("litter", 150), unlimited) for _ in range(5)]
    assert len({str(pid) for pid in pids}) == 1


async def test_a_child_that_died_idle_is_passed_over(pool: ChildPool, events: EventLog) -> None:
    """Killed between two tasks: no task hears of it."""
    await pool.run(job("pid"), unlimited)
    (child,) = pool._children
    child.kill()
    await child.gone
    assert isinstance(await pool.run(job("pid"), unlimited), Done)
    assert len(events.of(ChildStarted)) == 2


async def test_where_no_child_can_be_started_the_task_is_put_off(
    make_pool: Pool, events: EventLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No attempt is burnt by modules that do not load; and it recovers."""
    monkeypatch.setattr("app.consumer.children._START_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pool = make_pool(handler_modules="mended")
    assert isinstance(await pool.run(job("pid"), unlimited), Snooze)
    assert "exit code 2" in events.of(ChildNotStarted)[0].error
    (tmp_path / "mended.py").write_text("from tests.handlers.isolated import HANDLERS\n")
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_without_descriptors_the_task_is_put_off(
    pool: ChildPool, events: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process has as many as it may: it lives on, and starts children when there are some again."""
    monkeypatch.setattr("app.consumer.children._START_PAUSE_SECONDS", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        assert isinstance(await pool.run(job("pid"), unlimited), Snooze)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Too many open files" in events.of(ChildNotStarted)[0].error
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_cancelled_while_its_child_starts(pool: ChildPool, events: EventLog) -> None:
    """It ends at once; the child goes on starting, and serves the next."""
    run = asyncio.create_task(pool.run(job("pid"), unlimited))
    await asyncio.sleep(0.01)
    run.cancel()
    start = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - start < 0.1
    await pool.run(job("pid"), unlimited)
    assert len(events.of(ChildStarted)) == 1


async def test_close_ends_all_within_a_second(make_pool: Pool, tmp_path: Path) -> None:
    """Idle, busy beyond SIGTERM's reach, and still starting."""
    pool = make_pool()
    file = tmp_path / "notes"
    stubborn = asyncio.create_task(pool.run(job("ignore_sigterm", file=file), unlimited))
    await asyncio.gather(pool.run(job("pid"), unlimited), pid_in(file))
    pool.start_one()
    starting = asyncio.create_task(pool.run(job("nap", 60), unlimited))

    async def are_three() -> bool:
        return len(pool._children) == 3

    await until(are_three)
    pids = [child.pid for child in pool._children]
    start = time.monotonic()
    await pool.close()
    assert time.monotonic() - start < 1
    await are_gone(*pids)
    for run in (stubborn, starting):
        run.cancel()
        await asyncio.wait([run])
