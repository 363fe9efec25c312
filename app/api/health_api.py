"""Whether the process is up, and whether what it needs answers."""

import asyncio
import json
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from app.api.openapi import reference
from app.api.schemas import Health, Readiness
from app.core.errors import TaskmillError
from app.db.engine import Database
from app.queue.read import ping_database
from app.queue.wakeup import Wakeup

MEDIA_TYPE = "application/health+json"
CHECK_SECONDS = 2.0


def health_router(database: Database, wakeup: Wakeup) -> APIRouter:
    """`/health` and `/livez` for whoever restarts processes, `/readyz` for whoever sends them requests."""
    router = APIRouter(tags=["health"])

    @router.get("/health", operation_id="health", summary="Is the service up")
    @router.get("/livez", operation_id="livez", summary="Is this process up")
    async def live() -> Health:
        """200 as long as the process answers, whatever becomes of PostgreSQL and Redis."""
        return Health()

    not_ready = {
        "description": "PostgreSQL does not answer.",
        "content": {MEDIA_TYPE: {"schema": reference(Readiness)}},
    }
    ready_answer = {
        "description": "Requests are served.",
        "content": {MEDIA_TYPE: {"schema": reference(Readiness)}},
    }

    @router.get(
        "/readyz",
        operation_id="readyz",
        summary="Can this process serve requests",
        response_class=Response,
        responses={200: ready_answer, 503: not_ready},
    )
    async def ready() -> Response:
        """503 while PostgreSQL does not answer. Without Redis the service works, a little slower: 200, `warn`."""
        postgresql, redis = await asyncio.gather(_check(ping_database(database)), _check(wakeup.ping()))
        down = "output" in postgresql
        worst = "fail" if down else "warn" if "output" in redis else "pass"
        if "output" in redis:
            redis["status"] = "warn"
        body = {"status": worst, "checks": {"postgresql": [postgresql], "redis": [redis]}}
        status = HTTPStatus.SERVICE_UNAVAILABLE if down else HTTPStatus.OK
        return Response(json.dumps(body), status, media_type=MEDIA_TYPE)

    return router


async def _check(call: Awaitable[None]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await call
    except (TaskmillError, TimeoutError):
        return {"status": "fail", "output": "does not answer"}  # the reason is in the log: it may name hosts
    return {"status": "pass"}
