"""Routes for the hot calls: FastAPI routes and documents them, the endpoint reads and answers bytes itself.

FastAPI's own way from a request to an endpoint (dependencies, models, response classes) takes longer than all the rest
of a create. What it is worth is measured in docs/performance.md.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from app.api.errors import MEDIA_TYPE
from app.api.openapi import reference
from app.api.schemas import Problem

Endpoint = Callable[[Scope, Receive], Awaitable[bytes]]


class BytesRoute(APIRoute):
    """`endpoint(scope, receive)` returns the body of a JSON answer with the route's status, or raises."""

    def __init__(self, path: str, endpoint: Endpoint, *, method: str, status_code: int, **documentation: Any) -> None:
        async def documented() -> None:
            """Stands in for the endpoint in the documentation, and is never called."""

        documented.__doc__ = endpoint.__doc__
        super().__init__(path, documented, methods=[method], status_code=status_code, **documentation)
        start = {
            "type": "http.response.start",
            "status": status_code,
        }

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            body = await endpoint(scope, receive)
            await send(
                {
                    **start,
                    "headers": [
                        (b"content-type", b"application/json"),
                        (b"content-length", str(len(body)).encode()),
                    ],
                }
            )
            await send({"type": "http.response.body", "body": body})

        self.app = answer


def problems(descriptions: Mapping[HTTPStatus, str]) -> dict[int | str, dict[str, Any]]:
    """The documentation of error answers: when each is given."""
    return {
        int(status): {
            "description": description,
            "content": {
                MEDIA_TYPE: {
                    "schema": reference(Problem),
                    "example": {
                        "type": "about:blank",
                        "title": status.phrase,
                        "status": int(status),
                        "detail": description,
                        "instance": "/task",
                    },
                }
            },
        }
        for status, description in descriptions.items()
    }


def accepts(model: type[BaseModel]) -> dict[str, Any]:
    """The documentation of a JSON body."""
    return {"required": True, "content": {"application/json": {"schema": reference(model)}}}


def task_id_parameter() -> dict[str, Any]:
    """The documentation of `{task_id}`."""
    return {
        "name": "task_id",
        "in": "path",
        "required": True,
        "description": "The id that creating the task answered.",
        "schema": {"type": "string", "format": "uuid"},
        "example": "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21",
    }
