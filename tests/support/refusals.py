"""What it means that the service refuses a request."""

from collections.abc import Sequence
from http import HTTPStatus

import asyncpg

from tests.support.wire import JSON, Answer, Wire, connect, request

MARKER = "S3CRET"  # stands in the values of bad input; no answer may have it


class Refusals:
    """A live service, and a look at its table."""

    def __init__(self, url: str, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.url = url
        self._sql = sql

    async def rows(self) -> int:
        """How many tasks are kept."""
        return int(await self._sql.fetchval("SELECT count(*) FROM tasks"))

    async def refuse_body(self, body: bytes, status: int, pointers: Sequence[str] = (), *headers: str) -> Answer:
        """POST /task with this body is refused."""
        return await self.refuse(request("POST", "/task", *(headers or (JSON,)), body=body), status, pointers)

    async def refuse(self, data: bytes, status: int, pointers: Sequence[str] = ()) -> Answer:
        """The answer is a problem with this status and these pointers; nothing is kept; the service goes on."""
        before = await self.rows()
        async with connect(self.url) as wire:
            answer = await wire.ask(data)
            assert_problem(answer, status, pointers)
            await self.goes_on(wire, answer)
        assert await self.rows() == before
        return answer

    async def goes_on(self, wire: Wire, answer: Answer) -> None:
        """The same connection serves the next request, unless the answer closed it in so many words."""
        if answer.headers.get("connection") == "close":
            async with connect(self.url) as another:
                assert (await another.ask(request("GET", "/health"))).json() == {"status": "ok"}
        else:
            assert (await wire.ask(request("GET", "/health"))).json() == {"status": "ok"}


def assert_problem(answer: Answer, status: int, pointers: Sequence[str] = ()) -> None:
    """RFC 9457, with exactly these pointers, and without a trace of the input."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert MARKER.encode() not in answer.body
    assert len(answer.body) < 20_000
    problem = answer.json()
    assert problem["type"] == "about:blank"
    assert problem["title"] == HTTPStatus(status).phrase
    assert problem["status"] == status
    assert problem["detail"].strip()
    assert problem["instance"].startswith("/")
    assert problem["instance"].isprintable()
    assert [error["pointer"] for error in problem.get("errors", [])] == list(pointers)
    assert all(error["detail"].strip() for error in problem.get("errors", []))
