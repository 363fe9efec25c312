"""What is kept of an answer, however much of it there is."""

import asyncio
import base64
import gzip
import json
import tracemalloc
import zlib

import pytest
from aiohttp import web

from app.handler_api.outcome import Done
from tests.integration.http_kind.conftest import Call, result_of
from tests.support.receiver import Receiver, answering

LIMIT = 65_536


async def test_the_result(call: Call, receiver: Receiver) -> None:
    """The status, the headers that say something of the body, and the body."""
    headers = {"ETag": '"1"', "Set-Cookie": "a=S3CRET", "X-Request-Id": "17", "Location": "/orders/17"}
    receiver.answer = answering(201, text='{"é": 1}', headers=headers, content_type="application/json")
    assert await result_of(call) == {
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
    result = await result_of(call)
    if text is None:
        assert (base64.b64decode(result["body"]), result["is_base64"]) == (body, True)
    else:
        assert (result["body"], result["is_base64"]) == (text, False)


@pytest.mark.parametrize(("length", "is_truncated"), [(LIMIT - 1, False), (LIMIT, False), (LIMIT + 1, True)])
async def test_64_kib_of_the_body_are_kept(call: Call, receiver: Receiver, length: int, *, is_truncated: bool) -> None:
    """And it is said where there is more."""
    receiver.answer = answering(body=b"x" * length)
    result = await result_of(call)
    assert (len(result["body"]), result["truncated"]) == (min(length, LIMIT), is_truncated)


async def test_a_character_that_the_limit_cuts_is_left_out(call: Call, receiver: Receiver) -> None:
    """The body is text all the same."""
    receiver.answer = answering(text="a" + "é" * LIMIT)
    result = await result_of(call)
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
    result = await result_of(call)
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
        result = await result_of(call, url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert result["headers"] == {"etag": "\ufffdé", "link": "x" * 1_024}
    assert json.dumps(result).encode()
