"""What becomes of a call: it is done, tried again, failed or canceled."""

import asyncio
import socket

import pytest
from aiohttp import web

from app.core.task import ErrorCode
from app.handler_api.outcome import Fail, Retry
from tests.integration.http_kind.conftest import Call, result_of
from tests.support.receiver import Receiver, answering


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204, 206, 207, 226, 299])
async def test_2xx_completes(call: Call, receiver: Receiver, status: int) -> None:
    """All of them."""
    receiver.answer = answering(status)
    assert (await result_of(call))["status"] == status


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 507, 599])
async def test_what_may_be_better_later_is_retried(call: Call, receiver: Receiver, status: int) -> None:
    """When the server says, or as the kind has it."""
    receiver.answer = answering(status, text="the\r\nreason\0\x1b[2J")
    outcome = await call()
    assert isinstance(outcome, Retry)
    assert (outcome.after, outcome.code) == (None, ErrorCode.DEPENDENCY_UNAVAILABLE)
    assert str(status) in outcome.reason
    assert outcome.reason.endswith(": the reason [2J")
    receiver.answer = answering(status, headers={"Retry-After": "17"})
    outcome = await call()
    assert isinstance(outcome, Retry)
    assert outcome.after == 17


@pytest.mark.parametrize("status", [300, 304, 305, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 451, 499])
async def test_what_will_not_be_better_fails(call: Call, receiver: Receiver, status: int) -> None:
    """With what the server says of it, and whatever Retry-After says."""
    receiver.answer = answering(status, text="" if status == 304 else "no such order", headers={"Retry-After": "1"})
    outcome = await call()
    assert isinstance(outcome, Fail)
    assert outcome.code == ErrorCode.HANDLER_ERROR
    assert str(status) in outcome.reason
    assert status == 304 or outcome.reason.endswith(": no such order")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/", "http://127.0.0.1:{port}/other", "/other"])
async def test_redirects_are_not_followed(call: Call, receiver: Receiver, status: int, location: str) -> None:
    """Neither to private addresses nor to others; the reason says where to."""
    location = location.format(port=receiver.port)
    receiver.answer = answering(status, headers={"Location": location})
    outcome = await call()
    assert isinstance(outcome, Fail)
    assert str(status) in outcome.reason
    assert location in outcome.reason
    assert [heard.target for heard in receiver.heard] == ["/hook"]


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "10.0.0.1", "169.254.169.254", "[64:ff9b::a9fe:a9fe]"])
async def test_a_private_address_is_a_failure(call: Call, host: str) -> None:
    """It will not be better, and the reason says what would allow it."""
    outcome = await call({"url": f"http://{host}:9/"})
    assert isinstance(outcome, Fail)
    assert "HTTP_ALLOW_PRIVATE" in outcome.reason
    assert host.strip("[]") in outcome.reason


async def test_a_server_that_is_not_there_is_retried(call: Call) -> None:
    """As one that may come back."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    outcome = await call({"url": f"http://127.0.0.1:{port}/"})
    assert isinstance(outcome, Retry)
    assert outcome.code == ErrorCode.DEPENDENCY_UNAVAILABLE
    assert outcome.after is None
    assert "127.0.0.1" in outcome.reason


async def test_a_name_that_is_not_there_is_retried(call: Call) -> None:
    """Resolvers fail, too."""
    outcome = await call({"url": "http://nonexistent.invalid/"})
    assert isinstance(outcome, Retry)
    assert outcome.code == ErrorCode.DEPENDENCY_UNAVAILABLE
    assert "nonexistent.invalid" in outcome.reason


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nno br",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 999999 OK\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_is_retried(call: Call, answer: bytes) -> None:
    """Nothing that a server sends raises."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        outcome = await call({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"})
    assert isinstance(outcome, Retry), outcome
    assert outcome.code == ErrorCode.DEPENDENCY_UNAVAILABLE


async def test_a_canceled_call_leaves_its_connection(call: Call, receiver: Receiver) -> None:
    """The server hears of it."""
    is_left = asyncio.Event()
    is_there = asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        is_there.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            is_left.set()
            raise
        raise AssertionError

    receiver.answer = answer
    run = asyncio.ensure_future(call())
    async with asyncio.timeout(5):
        await is_there.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await is_left.wait()
