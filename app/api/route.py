"""Routes for the hot calls: FastAPI routes and documents them, the endpoint reads and answers bytes itself.

By FastAPI's own way from a request to an endpoint (dependencies, models, response classes) one process answers 1.4
times fewer creates: docs/performance.md.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.api.caller import caller
from app.api.errors import MEDIA_TYPE, ProblemError
from app.api.openapi import reference
from app.api.schemas import Problem
from app.api.stream import Stream, send_stream
from app.core.caller import Role

Headers = Sequence[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """An answer with another status than its route's, or with headers of its own. Without a body: None."""

    status: HTTPStatus
    body: bytes | None
    headers: Headers = ()


FULL = "The queue is full (MAX_PENDING), or all connections to PostgreSQL are in use; try again after Retry-After."
NO_DATABASE = "PostgreSQL does not answer; try again after Retry-After."
WRONG_BODY = "The body is JSON, but not what this call takes; or the Idempotency-Key was sent with another body."

_JSON = b"content-type", b"application/json"

# Calls of their own: what stands there is no id, so another method is answered with 405, and not with a task's 404.
_NO_IDS = frozenset({"/task/batch", "/task/bulk"})

Endpoint = Callable[[Scope, Receive], Awaitable[bytes | Reply | Stream]]


class BytesRoute(APIRoute):
    """`endpoint(scope, receive)` returns the body of a JSON answer with the route's status, or one of the others.

    `role`: that the caller's key needs; without one, READ for GET and WRITE for the rest.
    """

    def __init__(
        self,
        path: str,
        endpoint: Endpoint,
        *,
        method: str,
        status_code: int,
        role: Role | None = None,
        **documentation: Any,
    ) -> None:
        async def documented() -> None:
            """Stands in for the endpoint in the documentation, and is never called."""

        documented.__doc__ = endpoint.__doc__
        super().__init__(path, documented, methods=[method], status_code=status_code, **documentation)
        self.role = role or (Role.READ if method == "GET" else Role.WRITE)
        success = int(status_code)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            self.admit(scope)
            try:
                reply = await endpoint(scope, receive)
            except ClientDisconnect:
                return  # gone before its body had come, so nobody reads an answer: no fault of ours, no traceback
            if isinstance(reply, bytes):
                status, body, headers = success, reply, [_JSON, _length(reply)]
            elif isinstance(reply, Reply):
                status, body, headers = int(reply.status), reply.body or b"", _headers(reply)
            else:
                await send_stream(reply, receive, send)
                return
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        self.app = answer

    def admit(self, scope: Scope) -> None:
        """Raises ProblemError where the caller's key has not the role that it takes."""
        if caller(scope).role < self.role:
            raise ProblemError(
                HTTPStatus.FORBIDDEN, f"The API key may not do this: it takes the role {self.role.name.lower()}."
            )

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As every route, but that the names of calls are no ids."""
        if self.param_convertors and scope["path"] in _NO_IDS:
            return Match.NONE, {}
        return super().matches(scope)


def _headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    if reply.body is None:
        return [*reply.headers]
    types = [] if _JSON[0] in dict(reply.headers) else [_JSON]
    return [*reply.headers, *types, _length(reply.body)]


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)


def problems(path: str, descriptions: Mapping[HTTPStatus, str]) -> dict[int | str, dict[str, Any]]:
    """The documentation of error answers to a request for `path`: when each is given."""
    return {int(status): _problem(path, status, description) for status, description in descriptions.items()}


def _problem(path: str, status: HTTPStatus, description: str) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": description,
        "instance": path,
    }
    documentation = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": reference(Problem), "example": example}},
    }
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        example["errors"] = [{"pointer": "/content", "detail": "is missing"}]
    if status in {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.TOO_MANY_REQUESTS}:
        retry_after = {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}}
        documentation["headers"] = {"Retry-After": retry_after}
    return documentation


def example(body: Mapping[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    """The documentation of what an answer's body looks like."""
    return {"content": {media_type: {"example": body}}}


def accepts(model: type[BaseModel], examples: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The documentation of a JSON body, with examples by their names."""
    named = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": {"application/json": {"schema": reference(model), "examples": named}}}


def task_id_parameter() -> dict[str, Any]:
    """The documentation of `{task_id}`."""
    return id_parameter("task_id", "The id that creating the task answered.")


def id_parameter(name: str, description: str) -> dict[str, Any]:
    """The documentation of an id in a path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "format": "uuid"},
        "example": "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21",
    }


def id_in_path(scope: Scope, name: str) -> UUID | None:
    """The id in the path; None for what is no UUID in its usual form, which is the id of nothing."""
    text: str = scope["path_params"][name]
    try:
        return UUID(text) if len(text) == 36 else None  # noqa: PLR2004 - UUID() takes other forms as well
    except ValueError:
        return None
