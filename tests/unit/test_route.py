"""A bytes route, as an ASGI server calls it."""

from http import HTTPStatus

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from app.api.errors import ProblemError
from app.api.lingering import LingeringResponse
from app.api.route import BytesRoute


async def _call(route: BytesRoute) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await route.app({"type": "http"}, receive, send)
    return sent


async def test_what_the_endpoint_returns_is_the_answer() -> None:
    """With the route's status and the body's length."""

    async def endpoint(_: Scope, __: Receive) -> bytes:
        return b"{}"

    start, body = await _call(BytesRoute("/x", endpoint, method="POST", status_code=201))
    assert start["status"] == 201
    assert dict(start["headers"]) == {b"content-type": b"application/json", b"content-length": b"2"}
    assert body["body"] == b"{}"


async def test_a_client_that_went_away_is_no_fault() -> None:
    """Nobody reads an answer, so none is sent, and nothing is raised that would be logged as an error of ours."""

    async def endpoint(_: Scope, __: Receive) -> bytes:
        raise ClientDisconnect

    assert await _call(BytesRoute("/x", endpoint, method="POST", status_code=201)) == []


async def test_what_the_endpoint_raises_goes_to_the_error_handlers() -> None:
    """They make the answer."""

    async def endpoint(_: Scope, __: Receive) -> bytes:
        raise ProblemError(HTTPStatus.NOT_FOUND, "nothing")

    with pytest.raises(ProblemError):
        await _call(BytesRoute("/x", endpoint, method="GET", status_code=200))


async def test_a_lingering_answer_is_complete_before_the_request_is() -> None:
    """The body is sent whole, then the rest of the request is taken in, and only then the exchange ends."""
    steps: list[str] = []
    parts = [True, True, False]

    async def receive() -> Message:
        steps.append("receive")
        return {"type": "http.request", "body": b"more", "more_body": parts.pop(0)}

    async def send(message: Message) -> None:
        steps.append(f"{message.get('body', b'start').decode()} {message.get('more_body', False)}")

    await LingeringResponse("too long", 413)({"type": "http"}, receive, send)
    assert steps == ["start False", "too long True", "receive", "receive", "receive", " False"]
