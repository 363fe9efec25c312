"""The gate, as an ASGI server calls it: what only a fault of ours brings about."""

from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api.gate import Gate
from app.api.key_ring import KeyRing
from app.queue.rate_limit import RateLimiter
from tests.conftest import quick_settings
from tests.support.keys import KeysFile
from tests.support.waiting import EventLog

NOBODY_THERE = "redis://127.0.0.1:1"


@pytest.mark.parametrize("begins", [False, True])
async def test_a_fault_of_ours_has_the_headers_as_well(tmp_path: Path, *, begins: bool) -> None:
    """The answer is made once, and the server still gets to log the fault."""

    async def app(_: Scope, __: Receive, send: Send) -> None:
        if begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    keys = KeysFile(tmp_path / "keys.toml")
    key = keys.add("billing")
    settings = quick_settings("postgresql://h/d", NOBODY_THERE, keys_file=str(keys.path))
    events = EventLog()
    limiter = RateLimiter(settings.redis_url, events)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: Scope = {"type": "http", "method": "GET", "path": "/task/x", "headers": [(b"x-api-key", key.encode())]}
    with pytest.raises(ZeroDivisionError):
        await Gate(app, KeyRing(settings, events), limiter, 60)(scope, receive, send)
    await limiter.close()
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert [start["status"] for start in starts] == [200 if begins else 500]
    assert dict(starts[0]["headers"])[b"ratelimit"] == b'"default";r=59;t=1'
