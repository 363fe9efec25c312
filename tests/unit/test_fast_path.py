"""The fast path, as an ASGI server calls it: the same answers as by the router, which gets the rest."""

import json
from http import HTTPStatus

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response
from starlette.types import Message, Receive, Scope, Send

from app.api.errors import ProblemError, add_error_handlers
from app.api.fast_path import FastPath
from app.api.route import BytesRoute, Reply
from app.core.errors import UnknownKindError

ID = "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"


class _WorseKindError(UnknownKindError):
    """Its handler is that of its base."""


class _Endpoints:
    """What they raise is kept."""

    def __init__(self) -> None:
        self.raised: Exception | None = None

    async def create(self, _: Scope, __: Receive) -> bytes:
        return b'"created"'

    async def get(self, scope: Scope, _: Receive) -> Reply:
        return Reply(HTTPStatus.OK, json.dumps(scope["path_params"]).encode())

    async def cancel(self, _: Scope, __: Receive) -> bytes:
        self.raised = ProblemError(HTTPStatus.CONFLICT, "not now", headers={"Retry-After": "7"})
        raise self.raised

    async def retry(self, _: Scope, __: Receive) -> bytes:
        raise _WorseKindError("what")

    async def fail(self, _: Scope, __: Receive) -> bytes:
        raise ZeroDivisionError

    def routes(self) -> list[BytesRoute]:
        return [
            BytesRoute("/task", self.create, method="POST", status_code=201),
            BytesRoute("/task/{task_id}", self.get, method="GET", status_code=200),
            BytesRoute("/task/{task_id}/cancel", self.cancel, method="PATCH", status_code=200),
            BytesRoute("/task/{task_id}/retry", self.retry, method="PATCH", status_code=200),
            BytesRoute("/task/{task_id}/fail", self.fail, method="PATCH", status_code=200),
        ]


def _app(endpoints: _Endpoints, *, is_fast: bool) -> FastAPI:
    routes = endpoints.routes()
    app = FastAPI(routes=[*routes], redirect_slashes=False)
    add_error_handlers(app)
    if is_fast:
        app.add_middleware(FastPath, routes=routes)
    return app


async def _ask(app: FastAPI, method: str, path: str) -> Response:
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://taskmill") as client:
        return await client.request(method, path)


async def _passed(method: str, path: str, kind: str = "http") -> tuple[Scope, list[str]]:
    """The scope as it was left, and who got the request."""
    called: list[str] = []

    async def router(_: Scope, __: Receive, ___: Send) -> None:
        called.append("router")

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            called.append("route")

    scope: Scope = {"type": kind, "method": method, "path": path, "headers": [], "app": FastAPI()}
    await FastPath(router, _Endpoints().routes())(scope, receive, send)
    return scope, called


PATHS = (
    "/task",
    "/task/",
    "/task/batch",
    "/task/%7B%7D",
    "/task/%7B%7D/cancel",
    f"/task/{ID}",
    f"/task/{ID}/",
    f"/task/{ID}%0A",
    f"/task/{ID[1:]}%0A",
    f"/task/{ID[18:]}%2F{ID[19:]}",
    f"/task/{ID.replace('-', '%2D')}",
    "/task/" + "x" * 36,
    f"/task/{ID}/cancel",
    f"/task/{ID}/cancel/",
    f"/task/{ID}/retry",
    f"/task/{ID}/fail",
    f"/task/{ID}/events",
    f"/v1/task/{ID}",
    f"/group/{ID}",
)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"])
async def test_the_answers_are_those_of_the_router(method: str) -> None:
    """To whatever is asked: status, headers and body."""
    apps = [_app(_Endpoints(), is_fast=is_fast) for is_fast in (False, True)]
    for path in PATHS:
        slow, fast = [await _ask(app, method, path) for app in apps]
        assert (fast.status_code, fast.headers, fast.content) == (slow.status_code, slow.headers, slow.content), path


@pytest.mark.parametrize(
    ("method", "path", "route", "parameters"),
    [
        ("POST", "/task", "/task", {}),
        ("GET", f"/task/{ID}", "/task/{task_id}", {"task_id": ID}),
        ("GET", "/task/" + "x" * 36, "/task/{task_id}", {"task_id": "x" * 36}),
    ],
)
async def test_hot_calls_do_not_reach_the_router(
    method: str, path: str, route: str, parameters: dict[str, str]
) -> None:
    """The scope is as the router would have left it, for the metrics and for the endpoint."""
    scope, called = await _passed(method, path)
    assert called == ["route"]
    assert (scope["route"].path, scope["path_params"]) == (route, parameters)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/task"),
        ("POST", "/task/batch"),
        ("PUT", f"/task/{ID}"),
        ("GET", f"/task/{ID}/"),
        ("GET", "/task/{}"),
        ("PATCH", "/task/{}/cancel"),
        ("GET", f"/task/{ID}/cancel"),
        ("GET", f"/task/{ID}/events"),
        ("GET", f"/group/{ID}"),
        ("GET", "/task/" + "x" * 17 + "/" + "x" * 18),
        ("GET", f"/v1/task/{ID}"),
    ],
)
async def test_all_else_is_the_routers(method: str, path: str) -> None:
    """Other methods, names and paths, though they look alike."""
    scope, called = await _passed(method, path)
    assert called == ["router"]
    assert "route" not in scope


async def test_what_is_no_request_is_the_routers() -> None:
    """As the start of the application is."""
    assert (await _passed("POST", "/task", "lifespan"))[1] == ["router"]


async def test_a_fault_of_ours_goes_further_out() -> None:
    """There it is answered and logged."""
    with pytest.raises(ZeroDivisionError):
        await _passed("PATCH", f"/task/{ID}/fail")


async def test_an_answered_error_keeps_nothing_alive() -> None:
    """Else the batch that it was raised for, with all its bodies, would stay until the collector comes."""
    endpoints = _Endpoints()
    assert (await _ask(_app(endpoints, is_fast=True), "PATCH", f"/task/{ID}/cancel")).status_code == 409
    assert endpoints.raised is not None
    assert endpoints.raised.__traceback__ is None
