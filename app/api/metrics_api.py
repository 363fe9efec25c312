"""GET /metrics, for Prometheus."""

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from app.api.measured import RequestTimes
from app.core.metrics import CONTENT_TYPE, Metrics

_EXAMPLE = """\
# HELP taskmill_tasks_created_total Tasks kept, from requests, groups, schedules and handlers.
# TYPE taskmill_tasks_created_total counter
taskmill_tasks_created_total 10250.0
"""


def metrics_router(metrics: Metrics, times: RequestTimes) -> APIRouter:
    """What all processes of this machine's Supervisor have counted."""
    router = APIRouter(tags=["metrics"])
    answer: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    }

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses=answer,
    )
    async def show() -> Response:
        """What the API and the consumers under the same Supervisor have counted: docs/metrics.md explains each."""
        times.flush()
        return Response(await asyncio.to_thread(metrics.text), headers={"Content-Type": CONTENT_TYPE})

    return router
