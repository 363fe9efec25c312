"""The kind `http` against a real service: what it sends, and what it makes of the answer."""

import asyncio
import base64
import gzip
import json
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError
from uuid_utils.compat import uuid7

from app.consumer.tools import Toolbox
from app.core.task import Claim, ErrorCode
from app.db.engine import Database
from app.handler_api.outcome import Done, Fail, Outcome, Retry
from app.handlers import Catalog
from app.handlers.http.handler import HANDLER
from app.handlers.http.options import HttpOptions
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.support.receiver import Receiver, answering
from tests.support.waiting import EventLog

LIMIT = 65_536
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 24).decode()
STRANGE_SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()

Call = Callable[..., Awaitable[Outcome]]


@pytest.fixture
async def call(receiver: Receiver, events: EventLog) -> AsyncIterator[Call]:
    """Run the handler once, with the tools of a consumer, which may reach that service alone; the outcome.

    Nothing here needs PostgreSQL or Redis, and nothing connects to them.
    """
    nowhere = "127.0.0.1:9"
    settings = quick_settings(f"postgresql://{nowhere}/x", f"redis://{nowhere}", http_allow_private="127.0.0.1/32")
    database, wakeup = Database(settings.database_url, 2, 1), Wakeup(settings.redis_url, events)
    toolbox = Toolbox(settings, Catalog.load(settings), database, wakeup, events)

    async def run(
        content: dict[str, Any] | None = None,
        *,
        task_id: UUID | None = None,
        secret: str = "",
        traceparent: str | None = None,
    ) -> Outcome:
        text = json.dumps({"url": receiver.url} | (content or {}))
        claim = Claim(task_id or uuid7(), uuid4(), "http", text, 1, traceparent=traceparent)
        options = HttpOptions(http_signing_secret=SecretStr(secret))
        context = toolbox.context(claim, options, lambda: False, None)
        outcome = await HANDLER.run(HANDLER.payload.parse(text), context)
        assert isinstance(outcome, Done | Retry | Fail)
        return outcome

    yield run
    await toolbox.close()
    await wakeup.close()
    await database.close()


async def _result(call: Call, **content: Any) -> dict[str, Any]:
    outcome = await call(content)
    assert isinstance(outcome, Done), outcome
    return dict(outcome.result)


async def test_what_is_sent(call: Call, receiver: Receiver) -> None:
    """Method, target, headers and body as the content says, and the task's id as the Idempotency-Key."""
    task_id = uuid7()
    target = "/a/%2F/../b?x=%20&y=1"
    headers = {"Authorization": "Bearer x", "x-tab": "a\tb", "User-Agent": "mine"}
    url = f"http://127.0.0.1:{receiver.port}{target}#part"
    content = {"url": url, "method": "PUT", "headers": headers, "body": [1]}
    assert isinstance(await call(content, task_id=task_id), Done)
    (heard,) = receiver.heard
    assert (heard.method, heard.target, heard.body) == ("PUT", target, b"[1]")
    assert {name: heard.headers.getall(name) for name in headers} == {name: [headers[name]] for name in headers}
    assert heard.headers.getall("Idempotency-Key") == [str(task_id)]
    assert heard.headers.getall("Content-Type") == ["application/json"]
    assert heard.headers.getall("Content-Length") == ["3"]
    assert heard.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert "Transfer-Encoding" not in heard.headers
    assert not any(name.lower().startswith("webhook-") for name in heard.headers)


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"])
async def test_every_method_without_a_body(call: Call, receiver: Receiver, method: str) -> None:
    """Nothing is sent, and nothing is said of a type."""
    assert isinstance(await call({"method": method}), Done)
    (heard,) = receiver.heard
    assert (heard.method, heard.body) == (method, b"")
    assert "Content-Type" not in heard.headers
    assert "Transfer-Encoding" not in heard.headers


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"é": [1.5, None, "\U0001f600", 1e22]}, {}),
        ("<a>é</a>", {"Content-Type": "application/xml"}),
        ("", {"Content-Type": "text/plain"}),
        (None, {}),
        ("x" * 500_000, {}),
    ],
)
async def test_a_receiver_can_verify_who_sends(call: Call, receiver: Receiver, body: Any, headers: Any) -> None:
    """Over exactly the bytes that came, by the library of the standard, with the old secret and the new one."""
    task_id = uuid7()
    await call({"body": body, "headers": headers}, task_id=task_id, secret=f"{SECRET},{OLD_SECRET}")
    (heard,) = receiver.heard
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(heard.body, dict(heard.headers), json_parse=False)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(heard.body + b" ", dict(heard.headers), json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(STRANGE_SECRET).verify(heard.body, dict(heard.headers), json_parse=False)
    assert heard.headers["webhook-id"] == str(task_id)


async def test_a_request_without_a_body_is_signed(call: Call, receiver: Receiver) -> None:
    """As one with an empty body."""
    await call({"method": "GET"}, secret=SECRET)
    Webhook(SECRET).verify(b"", dict(receiver.heard[0].headers), json_parse=False)


async def test_the_trace_goes_on(call: Call, receiver: Receiver) -> None:
    """With another parent at each attempt."""
    for _ in range(2):
        await call(traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")
    traces = [heard.headers.getall("traceparent") for heard in receiver.heard]
    assert all(len(trace) == 1 and trace[0].startswith(f"00-{'ab' * 16}-") for trace in traces)
    assert traces[0] != traces[1]
    assert "cd" * 8 not in str(traces)


async def test_the_result(call: Call, receiver: Receiver) -> None:
    """The status, the headers that say something of the body, and the body."""
    headers = {"ETag": '"1"', "Set-Cookie": "a=S3CRET", "X-Request-Id": "17", "Location": "/orders/17"}
    receiver.answer = answering(201, text='{"é": 1}', headers=headers, content_type="application/json")
    assert await _result(call) == {
        "status": 201,
        "headers": {
            "content-type": "application/json; charset=utf-8",
            "location": "/orders/17",
            "etag": '"1"',
            "x-request-id": "17",
        },
        "body": '{"é": 1}',
        "is_base64": False,
        "truncated": False,
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"text", "text"),
        ("\u00e9\U0001f600".encode(), "\u00e9\U0001f600"),
        (b"a\x01\x7f", "a\x01\x7f"),
        (b"\xff\xfe", None),
        (b"a\0b", None),
        ("é".encode("latin-1"), None),
        ("é".encode()[:1], None),
        (b"\xed\xa0\x80", None),
        (bytes(range(256)), None),
    ],
)
async def test_a_body_is_text_or_base64(call: Call, receiver: Receiver, body: bytes, text: str | None) -> None:
    """Text where it is UTF-8 without NUL; whatever it says it is."""
    receiver.answer = answering(body=body, content_type="text/plain", charset="latin-1")
    result = await _result(call)
    if text is None:
        assert (base64.b64decode(result["body"]), result["is_base64"]) == (body, True)
    else:
        assert (result["body"], result["is_base64"]) == (text, False)


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204, 206, 207, 226, 299])
async def test_2xx_completes(call: Call, receiver: Receiver, status: int) -> None:
    """All of them."""
    receiver.answer = answering(status)
    assert (await _result(call))["status"] == status


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


@pytest.mark.parametrize(("length", "is_truncated"), [(LIMIT - 1, False), (LIMIT, False), (LIMIT + 1, True)])
async def test_64_kib_of_the_body_are_kept(call: Call, receiver: Receiver, length: int, *, is_truncated: bool) -> None:
    """And it is said where there is more."""
    receiver.answer = answering(body=b"x" * length)
    result = await _result(call)
    assert (len(result["body"]), result["truncated"]) == (min(length, LIMIT), is_truncated)


async def test_a_character_that_the_limit_cuts_is_left_out(call: Call, receiver: Receiver) -> None:
    """The body is text all the same."""
    receiver.answer = answering(text="a" + "é" * LIMIT)
    result = await _result(call)
    assert (result["body"], result["is_base64"], result["truncated"]) == ("a" + "é" * (LIMIT // 2 - 1), False, True)


async def test_an_endless_body_is_left(call: Call, receiver: Receiver) -> None:
    """The connection is closed as soon as there is enough."""
    is_left = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 10_000)
        finally:
            is_left.set()

    receiver.answer = answer
    result = await _result(call)
    assert (len(result["body"]), result["truncated"]) == (LIMIT, True)
    async with asyncio.timeout(5):
        await is_left.wait()


@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_does_not_go_off(call: Call, receiver: Receiver, encoding: str, status: int) -> None:
    """64 KiB of 50 MB are decompressed, or little more, whatever the status."""
    body = gzip.compress(bytes(50_000_000), 9) if encoding == "gzip" else zlib.compress(bytes(50_000_000), 9)
    receiver.answer = answering(status, body=body, headers={"Content-Encoding": encoding})
    await call()  # what is made once is made
    tracemalloc.start()
    try:
        outcome = await call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
    if status == 200:
        assert isinstance(outcome, Done)
        assert outcome.result["truncated"]
        assert base64.b64decode(outcome.result["body"]) == bytes(LIMIT)


async def test_headers_that_are_no_text_are_kept_as_text(call: Call) -> None:
    """What is stored must be JSON."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        headers = b"Content-Length: 0\r\nETag: \xff\xc3\xa9\r\nLink: " + b"x" * 5_000
        writer.write(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        result = await _result(call, url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert result["headers"] == {"etag": "\ufffdé", "link": "x" * 1_024}
    assert json.dumps(result).encode()


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
