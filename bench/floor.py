"""The HTTP floor: a POST with no work behind it, with FastAPI and without any framework."""

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI
from pydantic import BaseModel

from bench.api import Api

_BODY = b'{"id":"5f0c1d0e-9c1b-4a57-8c4e-9a1e7f3a1b2c","content":{"n":1},"status":"pending"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]

Message = MutableMapping[str, Any]


class TaskIn(BaseModel):
    """What is asked for."""

    content: dict[str, Any]


class TaskOut(BaseModel):
    """What is answered."""

    id: UUID
    content: dict[str, Any]
    status: str
    created_at: datetime


framework = FastAPI()


@framework.post("/task", status_code=201)
async def create(body: TaskIn) -> TaskOut:
    """Validate, and answer."""
    return TaskOut(id=uuid4(), content=body.content, status="pending", created_at=datetime.now(UTC))


async def bare(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Read the body, and answer."""
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 201, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})
        return
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


class Floor(Api):
    """uvicorn alone."""

    name = "bare ASGI"
    app = ("bench.floor:bare",)


class FrameworkFloor(Floor):
    """uvicorn, FastAPI and pydantic."""

    name = "bare FastAPI"
    app = ("bench.floor:framework",)
