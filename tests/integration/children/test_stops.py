"""Isolated handlers that are stopped, and what they have started."""

import asyncio
import time
from pathlib import Path

import pytest

from app.consumer.children import ChildPool
from app.consumer.verdict import JsonText
from app.core.events import ChildKilled
from app.handler_api.outcome import Done
from tests.integration.children.conftest import Pool, job, unlimited
from tests.support.pids import are_gone, lines, pid_in
from tests.support.waiting import EventLog


@pytest.mark.parametrize("do", ["spin", "sleep_blocking", "wait"])
async def test_a_stopped_handler_hears_of_it(pool: ChildPool, events: EventLog, tmp_path: Path, do: str) -> None:
    """In a busy loop, in a blocking call and at an await alike: its `finally` runs, well within the grace."""
    file = tmp_path / "notes"
    run = asyncio.create_task(pool.run(job(do, file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    start = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - start < 0.8
    assert lines(file)[1:] == ["canceled: True"]
    await are_gone(pid)
    assert not events.of(ChildKilled)


@pytest.mark.parametrize("do", ["ignore_sigterm", "swallow"])
async def test_a_handler_that_does_not_stop_is_killed(
    pool: ChildPool, events: EventLog, tmp_path: Path, do: str
) -> None:
    """SIGKILL after the grace; and the next task finds a fresh child."""
    file = tmp_path / "notes"
    run = asyncio.create_task(pool.run(job(do, file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    start = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert 0.9 < time.monotonic() - start < 1.8
    await are_gone(pid)
    assert events.of(ChildKilled)
    assert await pool.run(job("pid"), unlimited) != Done(JsonText(str(pid)))


async def test_cancelled_twice_it_is_killed_at_once(make_pool: Pool, events: EventLog, tmp_path: Path) -> None:
    """The second cancellation does not wait for the grace, nor does it leave the process behind."""
    file = tmp_path / "notes"
    run = asyncio.create_task(make_pool(cancel_grace_seconds=30).run(job("ignore_sigterm", file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2):
            await run
    await are_gone(pid)
    assert events.of(ChildKilled)


async def test_what_a_stopped_handler_returns_counts(pool: ChildPool, tmp_path: Path) -> None:
    """As on the event loop: one that ends in order within its grace has an outcome."""
    file = tmp_path / "notes"
    run = asyncio.create_task(pool.run(job("wait_and_finish", file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    assert await run == Done(JsonText('"finished after all"'))
    await are_gone(pid)


async def test_what_a_handler_has_started_ends_with_it(pool: ChildPool, tmp_path: Path) -> None:
    """A handler that waits for a program of its own is stopped, and so is the program."""
    file = tmp_path / "notes"
    run = asyncio.create_task(pool.run(job("start_others", file=file), unlimited))
    pid = await pid_in(file)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await are_gone(pid)
