"""The probe's judgement can fail: an API that hangs, breaks off or speaks unclearly does not pass."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sized
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.chaos import probe as probes
from tests.chaos.history import Call
from tests.chaos.probe import Probe
from tests.support.waiting import until

Answer = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def probing(answer: Answer) -> AsyncIterator[Probe]:
    """A probe on an API that answers so."""
    app = web.Application()
    app.router.add_post("/task", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    calls: list[Call] = []
    port = runner.addresses[0][1]
    async with Probe(f"http://127.0.0.1:{port}", calls) as probe:
        yield probe
    await runner.cleanup()


async def _created(_: web.Request) -> web.Response:
    return web.json_response({"id": "1"}, status=201)


async def test_what_is_created_passes() -> None:
    """At least one create has been accepted, and nothing else."""
    async with probing(_created) as probe:
        await until(lambda: _some(probe.accepted))
    assert probe.violations() == []


async def test_an_api_that_hangs_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are given up count, as unanswered and by how long they took."""
    monkeypatch.setattr(probes, "CALL_SECONDS", 0.3)
    monkeypatch.setattr(probes, "ANSWER_SECONDS", 0.2)

    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with probing(hang) as probe:
        await until(lambda: _some([call for call in probe._calls if not call.code]))
    accepted, unanswered, long = probe.violations()
    assert accepted == "no create was accepted, so nothing is shown"
    assert unanswered.endswith("creates got no answer")
    assert long == "a create took 0.3 s, and 0.2 s are promised"


async def test_an_unclear_error_does_not_pass() -> None:
    """A 500 without a word of what has happened."""

    async def fail(_: web.Request) -> web.Response:
        return web.json_response({}, status=500)

    async with probing(fail) as probe:
        await until(lambda: _some(probe.unclear))
    assert "unclear error: 500 " in probe.violations()


async def _some(those: Sized) -> bool:
    return len(those) > 0
