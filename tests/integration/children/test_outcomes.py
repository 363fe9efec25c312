"""What becomes of a run in a child: its outcome travels, and so does how the child died."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.consumer.children import ChildPool
from app.consumer.verdict import JsonText
from app.core.task import ErrorCode
from app.handler_api.outcome import Done, Fail, Retry, Snooze
from tests.integration.children.conftest import Pool, job, unlimited


async def test_outcomes_travel(pool: ChildPool) -> None:
    """Each kind of outcome, and what is none, as it would be on the event loop."""
    assert await pool.run(job("retry", 7), unlimited) == Retry(7.0, "not yet", ErrorCode.DEPENDENCY_UNAVAILABLE)
    assert await pool.run(job("retry", "soon"), unlimited) == Retry(None, "not yet", ErrorCode.DEPENDENCY_UNAVAILABLE)
    assert await pool.run(job("fail"), unlimited) == Fail("never \ud800")
    assert await pool.run(job("raise"), unlimited) == Retry(None, "ValueError: boom")
    snoozed = await pool.run(job("snooze"), unlimited)
    assert isinstance(snoozed, Snooze)
    assert timedelta(minutes=59) < snoozed.until - datetime.now(UTC) < timedelta(minutes=61)
    no_json = await pool.run(job("answer_no_json"), unlimited)
    assert isinstance(no_json, Fail)
    assert "The result is no JSON" in no_json.reason
    with pytest.raises(asyncio.CancelledError):
        await pool.run(job("cancel_itself"), unlimited)
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_large_payloads_and_results_travel(pool: ChildPool) -> None:
    """A megabyte each way; a result that is longer than may be is said so."""
    value = ['ä\u2028\U0001f600"\\' * 10] * 14_000
    outcome = await pool.run(job("echo", value), unlimited)
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, JsonText)
    assert len(outcome.result) > 1_000_000
    assert json.loads(outcome.result) == value
    too_long = await pool.run(job("echo", value * 2), unlimited)
    assert isinstance(too_long, Fail)
    assert "longer than" in too_long.reason


async def test_what_is_no_exception_is_a_failed_attempt(pool: ChildPool) -> None:
    """And costs no child."""
    assert await pool.run(job("raise_strange"), unlimited) == Retry(None, "_Strange: ")


@pytest.mark.parametrize(
    ("do", "how"),
    [("segfault", "SIGSEGV"), ("exit", "exit code 3"), ("kill", "SIGKILL")],
)
async def test_a_child_that_dies_is_a_failed_attempt(pool: ChildPool, do: str, how: str) -> None:
    """Of its own task; one that runs beside it in another child, and those that follow, do not notice."""
    beside = asyncio.create_task(pool.run(job("nap", 0.5), unlimited))
    assert await pool.run(job(do), unlimited) == Retry(None, f"The handler's process died: {how}")
    assert await beside == Done(JsonText('"rested"'))
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_a_child_that_breaks_the_channel_is_a_failed_attempt(pool: ChildPool) -> None:
    """It is ended, since nobody knows what it says next."""
    outcome = await pool.run(job("garble"), unlimited)
    assert isinstance(outcome, Retry)
    assert "process died" in outcome.reason
    assert isinstance(await pool.run(job("pid"), unlimited), Done)


async def test_what_a_handler_prints_breaks_nothing(
    capfd: pytest.CaptureFixture[str], make_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes to the consumer's own output, line by line; and so do the lines of its log."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    pool = make_pool()
    assert await pool.run(job("print"), unlimited) == Done(JsonText('"printed"'))
    await pool.run(job("log"), unlimited)
    await pool.run(job("kill"), unlimited)
    output = capfd.readouterr().out
    assert "printed by a handler\nwritten by a handler\n" in output
    assert "last words\n" in output
    (line,) = [line for line in output.splitlines() if "logged by a handler" in line]
    assert json.loads(line)["level"] == "warning"
    assert UUID(json.loads(line)["task_id"])
