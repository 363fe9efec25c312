"""What has to happen between a POST and the start of a task that is kept, and nothing else, one task at a time.

The API is uvicorn bench.limits.bare:app: INSERT, RPUSH, answer. The consumer is python -m bench.limits.bare: BLPOP,
UPDATE, the handler's first line, UPDATE. No framework, no validation, no pool, no recovery.
"""

import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast
from uuid import UUID, uuid4

import asyncpg
import uvloop
from redis.asyncio import Redis

from bench.stamps import stamp

TABLE = "CREATE TABLE tasks (id uuid PRIMARY KEY, content json NOT NULL, status text NOT NULL DEFAULT 'pending')"
_LIST = "taskmill-bench-bare"
_CREATE = "INSERT INTO tasks (id, content) VALUES ($1, $2)"
_MOVE = "UPDATE tasks SET status = $3 WHERE id = $1 AND status = $2 RETURNING content"

Message = MutableMapping[str, Any]


class _Servers:
    """The connections of one process."""

    sql: "asyncpg.Connection[asyncpg.Record]"
    redis: "Redis"

    async def connect(self) -> None:
        self.sql = await asyncpg.connect(os.environ["DATABASE_URL"])
        self.redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=60)


_servers = _Servers()


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Whatever the path, a request is a task."""
    if scope["type"] == "lifespan":
        await receive()
        await _servers.connect()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    message = await receive()
    content = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        content += message["body"]
    task_id = uuid4()
    await _servers.sql.execute(_CREATE, task_id, content.decode())
    await _servers.redis.rpush(_LIST, str(task_id))
    body = json.dumps({"id": str(task_id)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def consume() -> None:
    """Work until it is killed."""
    await _servers.connect()
    while True:
        popped = await cast("Awaitable[list[bytes] | None]", _servers.redis.blpop([_LIST], timeout=5))
        if popped is None:
            continue
        task_id = UUID(popped[1].decode())
        content = await _servers.sql.fetchval(_MOVE, task_id, "pending", "processing")
        stamp("delay", str(task_id), time.time() - json.loads(content)["content"]["sent"])
        await _servers.sql.fetchval(_MOVE, task_id, "processing", "completed")


if __name__ == "__main__":
    uvloop.run(consume())
