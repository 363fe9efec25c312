"""The calls for queues, documented."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from app.api.queue_api import NOT_ALLOWED, NOT_FOUND, QueueApi
from app.api.queue_schemas import (
    CHANGE_EXAMPLES,
    QUEUE_EXAMPLE,
    WHY_EXAMPLE,
    QueueChange,
    QueueList,
    QueueView,
    WhyView,
)
from app.api.route import NO_DATABASE, BytesRoute, accepts, example, problems, task_id_parameter
from app.api.task_reader import NOT_FOUND as NO_TASK
from app.core.caller import Role

_EXAMPLE_PATH = f"/queue/{QUEUE_EXAMPLE['name']}"


def queue_routes(api: QueueApi) -> list[BytesRoute]:
    """Where each call is, with all that its callers have to know."""
    return [
        BytesRoute(
            "/queue",
            api.list_all,
            method="GET",
            status_code=HTTPStatus.OK,
            operation_id="listQueues",
            summary="List queues",
            tags=["queue"],
            response_model=QueueList,
            response_description="All queues, by name.",
            responses={HTTPStatus.OK: example({"queues": [QUEUE_EXAMPLE]})} | _problems({}, "/queue"),
        ),
        BytesRoute(
            "/queue/{name}",
            api.get,
            method="GET",
            status_code=HTTPStatus.OK,
            operation_id="getQueue",
            summary="Get a queue",
            tags=["queue"],
            response_model=QueueView,
            response_description="The queue as it stands.",
            openapi_extra={"parameters": [_name_parameter()]},
            responses={HTTPStatus.OK: example(QUEUE_EXAMPLE)} | _problems({HTTPStatus.NOT_FOUND: NOT_FOUND}),
        ),
        BytesRoute(
            "/queue/{name}",
            api.change,
            method="PATCH",
            status_code=HTTPStatus.OK,
            role=Role.ADMIN,
            operation_id="changeQueue",
            summary="Pause or resume a queue",
            tags=["queue"],
            response_model=QueueView,
            response_description="The queue as it then stands. A claim that was under way may still have come first.",
            openapi_extra={
                "parameters": [_name_parameter()],
                "requestBody": accepts(QueueChange, CHANGE_EXAMPLES),
            },
            responses={HTTPStatus.OK: example(QUEUE_EXAMPLE)}
            | _problems(
                {
                    HTTPStatus.BAD_REQUEST: "The body is not JSON.",
                    HTTPStatus.NOT_FOUND: NOT_FOUND,
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is longer than BODY_LIMIT_BYTES.",
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The Content-Type is not application/json.",
                    HTTPStatus.UNPROCESSABLE_ENTITY: "The body is JSON, but not what this call takes.",
                }
            ),
        ),
        BytesRoute(
            "/task/{task_id}/why",
            api.why,
            method="GET",
            status_code=HTTPStatus.OK,
            operation_id="explainTask",
            summary="Why a task is not running",
            tags=["task"],
            response_model=WhyView,
            response_description="What holds it back, in one moment.",
            openapi_extra={"parameters": [task_id_parameter()]},
            responses={HTTPStatus.OK: example(WHY_EXAMPLE)}
            | problems(
                f"/task/{WHY_EXAMPLE['task_id']}/why",
                {HTTPStatus.NOT_FOUND: NO_TASK, HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE},
            ),
        ),
    ]


def _problems(descriptions: Mapping[HTTPStatus, str], path: str = _EXAMPLE_PATH) -> dict[int | str, dict[str, Any]]:
    always = {HTTPStatus.FORBIDDEN: NOT_ALLOWED, HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE}
    return problems(path, {**descriptions, **always})


def _name_parameter() -> dict[str, Any]:
    return {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "The queue's name, as GET /queue tells it.",
        "schema": {"type": "string"},
        "example": QUEUE_EXAMPLE["name"],
    }
