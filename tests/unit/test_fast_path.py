"""The fast path, as an ASGI server calls it: what it takes, and that it leaves the rest to the router."""

import json
from http import HTTPStatus

import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.api.errors import ProblemError, add_error_handlers
from app.api.fast_path import FastPath
from app.api.route import BytesRoute, Reply

ID = "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"


async def _created(_: Scope, __: Receive) -> bytes:
    return b'"created"'


async def _got(scope: Scope, __: Receive) -> Reply:
    return Reply(HTTPStatus.OK, json.dumps(scope["path_params"]).encode())


async def _refused(_: Scope, __: Receive) -> bytes:
    raise ProblemError(HTTPStatus.CONFLICT, "not now", headers={"Retry-After": "7"})


async def _broken(_: Scope, __: Receive) -> bytes:
    raise ZeroDivisionError


ROUTES = [
    BytesRoute("/task", _created, method="POST", status_code=201),
    BytesRoute("/task/{task_id}", _got, method="GET", status_code=200),
    BytesRoute("/task/{task_id}/cancel", _refused, method="PATCH", status_code=200),
    BytesRoute("/task/{task_id}/retry", _broken, method="PATCH", status_code=200),
]


async def _ask(method: str, path: str) -> tuple[Scope, list[Message]]:
    """The scope as it was left, and what was sent; nothing, where the router is to answer."""
    app, sent = FastAPI(), list[Message]()
    add_error_handlers(app)

    async def router(_: Scope, __: Receive, ___: Send) -> None:
        """Answers nothing."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": method, "path": path, "app": app, "headers": []}
    await FastPath(router, ROUTES)(scope, receive, send)
    return scope, sent


async def test_a_call_without_an_id() -> None:
    """Its route is in the scope, for the metrics."""
    scope, (start, body) = await _ask("POST", "/task")
    assert (start["status"], body["body"]) == (201, b'"created"')
    assert scope["route"] is ROUTES[0]


@pytest.mark.parametrize("name", [ID, "x" * 36])
async def test_a_call_with_an_id(name: str) -> None:
    """What is no id reaches the endpoint as well, which knows what to say."""
    scope, (start, body) = await _ask("GET", f"/task/{name}")
    assert (start["status"], json.loads(body["body"])) == (200, {"task_id": name})
    assert scope["route"] is ROUTES[1]


async def test_an_error_has_the_answer_of_the_applications_handler() -> None:
    """With its headers."""
    _, (start, body) = await _ask("PATCH", f"/task/{ID}/cancel")
    assert start["status"] == 409
    assert dict(start["headers"])[b"retry-after"] == b"7"
    assert json.loads(body["body"])["detail"] == "not now"


async def test_a_fault_of_ours_goes_further_out() -> None:
    """There it is answered and logged."""
    with pytest.raises(ZeroDivisionError):
        await _ask("PATCH", f"/task/{ID}/retry")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/task"),
        ("POST", "/task/batch"),
        ("PUT", f"/task/{ID}"),
        ("GET", f"/task/{ID}/"),
        ("GET", f"/task/{ID}/cancel"),
        ("GET", f"/task/{ID}/events"),
        ("GET", f"/group/{ID}"),
        ("GET", "/task/" + "x" * 17 + "/" + "x" * 18),
        ("GET", f"/v1/task/{ID}"),
    ],
)
async def test_all_else_is_the_routers(method: str, path: str) -> None:
    """Other methods, names and paths, though they look alike."""
    scope, sent = await _ask(method, path)
    assert sent == []
    assert "route" not in scope
