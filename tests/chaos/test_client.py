"""What a client makes of answers, whole and broken."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.chaos.client import Client
from tests.chaos.history import Call, Options, Outcome

TASK = b'{"id":"t1","status":"pending","version":1}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[Client]:
    """A client of something that answers each call with these bytes, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Client(f"http://127.0.0.1:{port}", []) as client:
        yield client


def whole(status: str, body: bytes) -> bytes:
    """An answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunk(data: bytes) -> bytes:
    """A part of an answer that has no length."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def line(index: int) -> bytes:
    """The answer to a line."""
    return b'{"index":%d,"task":{"id":"t%d"}}\n' % (index, index)


@pytest.mark.parametrize(
    ("answer", "outcome", "code", "ids"),
    [
        (whole("201 Created", TASK), Outcome.OK, 201, ("t1",)),
        (whole("422 Unprocessable Entity", b"{}"), Outcome.FAIL, 422, ()),
        (whole("500 Internal Server Error", b"{}"), Outcome.UNKNOWN, 500, ()),
        (whole("503 Service Unavailable", b"{}"), Outcome.UNKNOWN, 503, ()),
        (whole("201 Created", TASK)[:-5], Outcome.UNKNOWN, 0, ()),
        (b"", Outcome.UNKNOWN, 0, ()),
    ],
    ids=["2xx", "4xx", "500", "503", "cut off", "none"],
)
async def test_a_create_is_what_its_answer_proves(
    answer: bytes, outcome: Outcome, code: int, ids: tuple[str, ...]
) -> None:
    """Only a whole 2xx is ok, and only a 4xx is a refusal."""
    async with answering(answer) as client:
        call = await client.create({"content": 1}, "m1", "k1")
    assert (call.outcome, call.code, call.ids, call.marker, call.key) == (outcome, code, ids, "m1", "k1")
    assert call.invoked <= call.ended


@pytest.mark.parametrize(
    ("answer", "outcome", "ids"),
    [
        (HEAD + chunk(line(0) + line(1)) + chunk(b""), Outcome.OK, ("t0", "t1")),
        (HEAD + chunk(line(0) + line(1)[:9]), Outcome.UNKNOWN, ("t0",)),
        (HEAD + chunk(line(0)) + chunk(b'{"index":1,"error":{"status":500}}\n') + chunk(b""), Outcome.UNKNOWN, ("t0",)),
        (HEAD + chunk(line(0)) + chunk(b""), Outcome.UNKNOWN, ("t0",)),
    ],
    ids=["whole", "broken off", "with an error", "too short"],
)
async def test_lines_that_were_answered_are_known(answer: bytes, outcome: Outcome, ids: tuple[str, ...]) -> None:
    """Also of a stream that broke off."""
    async with answering(answer) as client:
        call = await client.lines([{"content": 1}, {"content": 2}], "m1", "k1")
    assert (call.verb, call.outcome, call.ids) == ("batch", outcome, ids)


@pytest.mark.parametrize(
    ("ask", "verb"),
    [
        (lambda client: client.read("t1"), "read"),
        (lambda client: client.cancel("t1"), "cancel"),
        (lambda client: client.retry("t1"), "retry"),
    ],
    ids=["read", "cancel", "retry"],
)
async def test_a_call_about_a_task_names_it_whatever_is_answered(
    ask: Callable[[Client], Awaitable[Call]], verb: str
) -> None:
    """The checker looks for what may have been done to it."""
    async with answering(b"") as client:
        call = await ask(client)
    assert (call.verb, call.outcome, call.ids) == (verb, Outcome.UNKNOWN, ("t1",))


async def test_a_call_that_is_given_up_may_have_been_done() -> None:
    """It is noted like one without an answer."""
    calls: list[Call] = []
    is_over = asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        is_over.set()

    silent = await asyncio.start_server(be_silent, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent:
        async with Client(f"http://127.0.0.1:{port}", calls) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.cancel("t1"), 0.1)
        await is_over.wait()
    (call,) = calls
    assert (call.verb, call.outcome, call.code, call.ids) == ("cancel", Outcome.UNKNOWN, 0, ("t1",))
    assert call.ended >= call.invoked + 0.05


async def test_what_was_asked_for_is_noted() -> None:
    """Of each task, in their order; the checker holds the rows against it."""
    tasks = [
        {"kind": "a", "content": 1},
        {
            "kind": "b",
            "content": 1,
            "priority": "high",
            "delay_seconds": 1.5,
            "concurrency_key": "k",
            "max_attempts": 2,
        },
    ]
    async with answering(b"") as client:
        batch = await client.batch(tasks, "m1")
    async with answering(b"") as client:
        group = await client.group({"tasks": tasks, "on_failure": "cancel_rest", "then": {"kind": "c"}}, "m2")
    assert (batch.asked, batch.options) == (("a", "b"), (Options(), Options(0, 1.5, "k", 2)))
    assert (group.asked, len(group.options), group.on_failure) == (("a", "b", "c"), 3, "cancel_rest")
