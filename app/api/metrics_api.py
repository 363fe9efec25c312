"""GET /metrics, for Prometheus."""

import asyncio
from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope

from app.api.caller import require_no_tenant
from app.api.gauges import read_gauges
from app.api.measured import RequestTimes
from app.api.route import BytesRoute, Reply, problems
from app.api.services import Services
from app.core.metrics import CONTENT_TYPE, Metrics

NOT_ALLOWED = "The metrics are not for keys of a tenant: their numbers are of all tenants."

_EXAMPLE = """\
# HELP taskmill_tasks_created_total Tasks kept, from requests, groups, schedules and handlers.
# TYPE taskmill_tasks_created_total counter
taskmill_tasks_created_total 10250.0
"""


def metrics_route(metrics: Metrics, times: RequestTimes, services: Services) -> BytesRoute:
    """Where it is, documented."""

    async def show(scope: Scope, _: Receive) -> Reply:
        """What the API and the consumers under the same Supervisor have counted, and how many tasks there are.

        These are the numbers of all tenants: keys of a tenant are refused, unless they are of the role admin.
        """
        require_no_tenant(scope, NOT_ALLOWED)
        times.flush()
        kinds = list(services.catalog.handlers)
        gauges = await read_gauges(services.heavy, kinds, services.settings.lease_seconds)
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
        }
        | problems("/metrics", {HTTPStatus.FORBIDDEN: NOT_ALLOWED}),
    )
