"""Whether the process is up, and whether what it needs answers."""

import asyncio
import json
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from app.api.openapi import reference
from app.api.route import example
from app.api.schemas import Health, Readiness
from app.core.errors import DatabaseBusyError, TaskmillError
from app.db.engine import Database
from app.queue.read import ping_database
from app.queue.wakeup import Wakeup

MEDIA_TYPE = "application/health+json"
CHECK_SECONDS = 2.5  # longer than a wait for a free connection

_PASS = {"status": "pass"}
_NO_ANSWER = {"status": "fail", "output": "does not answer"}
_BUSY = {"status": "warn", "output": "answers, but all connections are in use"}


def health_router(database: Database, wakeup: Wakeup) -> APIRouter:
    """`/health` and `/livez` for whoever restarts processes, `/readyz` for whoever sends them requests."""
    router = APIRouter(tags=["health"])

    well: dict[int | str, dict[str, Any]] = {200: example({"status": "ok"})}
    answer = "The process answers."

    @router.get(
        "/health", operation_id="health", summary="Is the service up", responses=well, response_description=answer
    )
    @router.get(
        "/livez", operation_id="livez", summary="Is this process up", responses=well, response_description=answer
    )
    async def live() -> Health:
        """200 as long as the process answers, whatever becomes of PostgreSQL and Redis."""
        return Health()

    not_ready = {
        "description": "PostgreSQL does not answer.",
        "content": {MEDIA_TYPE: {"schema": reference(Readiness), "example": _report("fail", _NO_ANSWER, _PASS)}},
    }
    ready_answer = {
        "description": "Requests are served.",
        "content": {MEDIA_TYPE: {"schema": reference(Readiness), "example": _report("pass", _PASS, _PASS)}},
    }

    @router.get(
        "/readyz",
        operation_id="readyz",
        summary="Can this process serve requests",
        response_class=Response,
        responses={200: ready_answer, 503: not_ready},
    )
    async def ready() -> Response:
        """503 while PostgreSQL does not answer. Without Redis the service works, a little slower: 200, `warn`.

        The same where all connections to PostgreSQL are in use for 2 s: with fewer APIs it would not be better.
        """
        postgresql, redis = await asyncio.gather(_check(ping_database(database)), _check(wakeup.ping()))
        if redis["status"] == "fail":
            redis["status"] = "warn"
        found = {postgresql["status"], redis["status"]}
        worst = next(status for status in ("fail", "warn", "pass") if status in found)
        status = HTTPStatus.SERVICE_UNAVAILABLE if worst == "fail" else HTTPStatus.OK
        return Response(json.dumps(_report(worst, postgresql, redis)), status, media_type=MEDIA_TYPE)

    return router


def _report(status: str, postgresql: Mapping[str, str], redis: Mapping[str, str]) -> dict[str, Any]:
    return {"status": status, "checks": {"postgresql": [postgresql], "redis": [redis]}}


async def _check(call: Awaitable[None]) -> dict[str, str]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await call
    except DatabaseBusyError:
        return dict(_BUSY)
    except (TaskmillError, TimeoutError):
        return dict(_NO_ANSWER)  # the reason is in the log: it may name hosts
    return dict(_PASS)
