"""GET /metrics, for Prometheus."""

import asyncio
from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope

from app.api.gauges import read_gauges
from app.api.measured import RequestTimes
from app.api.route import BytesRoute, Reply
from app.api.services import Services
from app.core.metrics import CONTENT_TYPE, Metrics

_EXAMPLE = """\
# HELP taskmill_tasks_created_total Tasks kept, from requests, groups, schedules and handlers.
# TYPE taskmill_tasks_created_total counter
taskmill_tasks_created_total 10250.0
"""


def metrics_route(metrics: Metrics, times: RequestTimes, services: Services) -> BytesRoute:
    """Where it is, documented."""

    async def show(_: Scope, __: Receive) -> Reply:
        """What the API and the consumers under the same Supervisor have counted, and how many tasks there are."""
        times.flush()
        kinds = list(services.catalog.handlers)
        gauges = await read_gauges(services.database, kinds, services.settings.lease_seconds)
        text = await asyncio.to_thread(metrics.text, gauges)
        return Reply(HTTPStatus.OK, text, [(b"content-type", CONTENT_TYPE.encode())])

    return BytesRoute(
        "/metrics",
        show,
        method="GET",
        status_code=HTTPStatus.OK,
        operation_id="metrics",
        summary="Counters for Prometheus",
        tags=["metrics"],
        response_class=PlainTextResponse,
        responses={
            HTTPStatus.OK: {
                "description": "Prometheus' text format.",
                "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
            }
        },
    )
