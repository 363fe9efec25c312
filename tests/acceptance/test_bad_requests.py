"""Requests that are refused before or beside their body: size, media type, method, path."""

import asyncio
from collections.abc import AsyncIterator
from itertools import chain, count
from uuid import uuid4

import pytest

from app.api.lingering import LINGER_SECONDS
from tests.support.processes import Service
from tests.support.refusals import MARKER, Refusals, assert_problem
from tests.support.wire import JSON, connect, request

LIMIT = 1_048_576
GOOD = b'{"content": "S3CRET"}'

WRONG_MEDIA_TYPES = {
    "none": [],
    "empty": ["Content-Type:"],
    "text": ["Content-Type: text/plain"],
    "form": ["Content-Type: application/x-www-form-urlencoded"],
    "multipart": ["Content-Type: multipart/form-data; boundary=x"],
    "other JSON": ["Content-Type: application/vnd.api+json"],
    "begins like JSON": ["Content-Type: application/jsonx"],
    "two in one": ["Content-Type: application/json, text/plain"],
    "JSON first": ["Content-Type: application/json", "Content-Type: text/plain"],
    "no ASCII": ["Content-Type: \xff"],
    "UTF-16": ["Content-Type: application/json; charset=utf-16"],
    "UTF-16 in quotes": ['Content-Type: application/json; charset="utf-16"'],
    "Latin-1": ["Content-Type: application/json;charset=ISO-8859-1"],
    "UTF-16 after another parameter": ["Content-Type: application/json; x=y; charset=utf-16"],
    "UTF-16 with spaces": ["Content-Type: application/json ; charset = utf-16"],
}

RIGHT_MEDIA_TYPES = [
    "application/json; charset=utf-8",
    'Application/JSON; Charset="UTF-8"',
    "application/json;charset=utf-8;x=y",
    "application/json; x=charset",
]

IDS = {
    "NUL": "%00",
    "braces": "%7B%7D",
    "UUID and NUL": f"{uuid4()}%00",
    "line break": "%0d%0aX-Injected:%201",
    "dots": "..",
    "encoded dots": "%2e%2e",
    "out of the folder": "..%2f..%2fetc%2fpasswd",
    "5,000 characters": "a" * 5_000,
    "5,000 digits": "1" * 5_000,
    "invalid UTF-8": "%ff%fe",
    "broken escape": "%zz",
    "emoji": "%F0%9F%98%80",
    "UUID in braces": f"%7B{uuid4()}%7D",
    "UUID without dashes": uuid4().hex,
    "UUID as URN": f"urn:uuid:{uuid4()}",
    "UUID with spaces": f"%20{str(uuid4())[1:]}",
    "36 characters": "z" * 36,
    "SQL": "'%20OR%201=1--",
    "nobody's": str(uuid4()),
}

ALLOWED = {
    "/task": {"GET", "POST"},
    "/task/batch": {"POST"},
    "/task/bulk": {"POST"},
    f"/task/{uuid4()}": {"DELETE", "GET"},
    f"/task/{uuid4()}/cancel": {"PATCH"},
    f"/task/{uuid4()}/events": {"GET"},
    f"/task/{uuid4()}/deliveries": {"GET", "POST"},
    f"/task/{uuid4()}/why": {"GET"},
    "/queue": {"GET"},
    "/queue/default": {"GET", "PATCH"},
    "/metrics": {"GET"},
    "/schedule": {"GET"},
    "/schedule/x": {"DELETE", "GET", "PUT"},
    "/schedule/x/run": {"POST"},
    "/health": {"GET"},
    "/livez": {"GET"},
    "/readyz": {"GET"},
    "/docs": {"GET"},
    "/openapi.json": {"GET", "HEAD"},
    "/docs/swagger-ui/swagger-ui.css": {"GET", "HEAD"},
}
ALLOWED_IDS = [
    "create",
    "batch",
    "bulk",
    "get",
    "cancel",
    "events",
    "deliveries",
    "why",
    "queues",
    "queue",
    "metrics",
    "schedules",
    "schedule",
    "run",
    "health",
    "livez",
    "readyz",
    "docs",
    "openapi",
    "assets",
]

UNKNOWN_PATHS = [
    "/",
    "/tasks",
    "/task/",
    "/task/a/b",
    "/health/",
    "/schedule/",
    "/schedule/a/b",
    "//task",
    "/docs/swagger-ui/..%2f..%2fbody.py",
    "/%5B",
]


@pytest.mark.parametrize("headers", WRONG_MEDIA_TYPES.values(), ids=WRONG_MEDIA_TYPES)
async def test_what_is_not_said_to_be_json_is_415(refusals: Refusals, headers: list[str]) -> None:
    """Only application/json in UTF-8 is read."""
    await refusals.refuse(request("POST", "/task", *headers, body=GOOD), 415)


@pytest.mark.parametrize("media_type", RIGHT_MEDIA_TYPES)
async def test_json_by_its_other_spellings_is_taken(live: Service, media_type: str) -> None:
    """Media types and charsets know no case, and parameters that say nothing of the charset are let pass."""
    answer = await live.client.post("/task", content=GOOD, headers={"Content-Type": media_type})
    assert answer.status_code == 201


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", "nonsense"])
async def test_an_encoded_body_is_415(refusals: Refusals, encoding: str) -> None:
    """Content-Encoding is not undone, so that a small body can't become a large one."""
    answer = await refusals.refuse_body(GOOD, 415, (), JSON, f"Content-Encoding: {encoding}")
    assert answer.headers["accept-encoding"] == "identity"


async def test_a_body_of_20_mb_is_413_before_it_is_sent(refusals: Refusals) -> None:
    """The length that is announced is enough to refuse."""
    head = request("POST", "/task", JSON, f"Content-Length: {20 * 2**20}")
    assert (await refusals.refuse(head, 413)).headers["connection"] == "close"
    await refusals.refuse(head + b'{"content": "' + MARKER.encode() * 2**20, 413)


async def test_a_client_library_sees_the_413_and_goes_on(live: Service, refusals: Refusals) -> None:
    """A client that sends 20 MB, announced or streamed, gets the answer, and its next request is served."""
    parts = [b'{"content": "', *[b"S3CRET" * 10_000] * 350, b'"}']

    async def stream() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    headers = {"Content-Type": "application/json"}
    before = await refusals.rows()
    for body in (b"".join(parts), stream()):
        answer = await live.client.post("/task", content=body, headers=headers)
        assert answer.status_code == 413
        assert MARKER not in answer.text
        assert (await live.client.get("/health")).status_code == 200
    assert await refusals.rows() == before


async def test_a_body_without_an_end_is_413_at_the_limit(refusals: Refusals) -> None:
    """A chunked body is counted as it comes; the answer is there while more is sent, and then the server hangs up."""
    before = await refusals.rows()
    async with connect(refusals.url) as wire:
        await wire.send(request("POST", "/task", JSON, "Transfer-Encoding: chunked"))

        async def send_for_ever() -> None:
            for part in chain([b'{"content": "'], (MARKER.encode() * 10_000 for _ in count())):
                await wire.send(b"%x\r\n%b\r\n" % (len(part), part))

        sending = asyncio.ensure_future(send_for_ever())
        assert_problem(await wire.answer(), 413)
        assert not sending.done()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(sending, LINGER_SECONDS * 2)
    assert await refusals.rows() == before


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_the_limit_is_exact(live: Service, refusals: Refusals, *, is_chunked: bool) -> None:
    """A body of BODY_LIMIT_BYTES is kept, and one byte more is refused, announced or not."""
    for size, status in ((LIMIT, 201), (LIMIT + 1, 413)):
        body = b'{"content":"' + b"a" * (size - 14) + b'"}'
        assert len(body) == size
        before = await refusals.rows()
        async with connect(live.url) as wire:
            if is_chunked:
                head = request("POST", "/task", JSON, "Transfer-Encoding: chunked")
                answer = await wire.ask(head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, body))
            else:
                answer = await wire.ask(request("POST", "/task", JSON, body=body))
            assert answer.status == status
            await refusals.goes_on(wire, answer)
        assert await refusals.rows() - before == (status == 201)


@pytest.mark.parametrize("task_id", IDS.values(), ids=IDS)
async def test_an_id_that_is_none_is_404(refusals: Refusals, task_id: str) -> None:
    """Whatever stands for the id, it is not found, and the answer has no bare control character."""
    for line in (("GET", f"/task/{task_id}"), ("PATCH", f"/task/{task_id}/cancel")):
        await refusals.refuse(request(*line), 404)


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
async def test_an_unknown_path_is_404(refusals: Refusals, path: str) -> None:
    """The router's own answer is a problem too."""
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        await refusals.refuse(request(method, path), 404 if "swagger" not in path or method == "GET" else 405)


@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items(), ids=ALLOWED_IDS)
async def test_a_wrong_method_is_405(refusals: Refusals, path: str, allowed: set[str]) -> None:
    """The answer's Allow header says which methods there are."""
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"} - allowed:
        answer = await refusals.refuse(request(method, path, JSON, body=GOOD), 405)
        assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed


@pytest.mark.parametrize("host", ["[", "[::1", "x:99999", "x/..?#", "\xe9", ""])
async def test_a_strange_host_changes_nothing(refusals: Refusals, host: str) -> None:
    """No answer is made from the Host header."""
    answer = await refusals.refuse(request("GET", "/nowhere", f"Host: {host}"), 404)
    assert answer.json()["instance"] == "/nowhere"


@pytest.mark.parametrize("header", ["Content-Length: -1", "Content-Length: x", "Content-Length: 9" + "9" * 40, "A: \0"])
async def test_what_is_not_http_is_400(refusals: Refusals, header: str) -> None:
    """The server itself answers what it can't parse by itself: a plain 400, and the connection is closed."""
    before = await refusals.rows()
    async with connect(refusals.url) as wire:
        answer = await wire.ask(request("POST", "/task", JSON, header) + GOOD)
        assert answer.status == 400
        assert MARKER.encode() not in answer.body
        await refusals.goes_on(wire, answer)
    assert await refusals.rows() == before
