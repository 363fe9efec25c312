"""The calls for schedules, documented."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from app.api.route import NO_DATABASE, BytesRoute, accepts, example, problems
from app.api.schedule_api import MOST, NOT_FOUND, USUAL, ScheduleApi
from app.api.schedule_schemas import (
    NEW_SCHEDULE_EXAMPLES,
    SCHEDULE_EXAMPLE,
    ScheduleBody,
    ScheduleList,
    ScheduleView,
)
from app.api.task_schemas import TASK_EXAMPLE, TaskView
from app.core.caller import Role
from app.core.schedule import NAME_PATTERN

_EXAMPLE_PATH = f"/schedule/{SCHEDULE_EXAMPLE['name']}"
_DECLARED = "The schedule is part of the configuration (SCHEDULES_FILE)."


def schedule_routes(api: ScheduleApi) -> list[BytesRoute]:
    """Where each call is, with all that its callers have to know."""
    return [
        BytesRoute(
            "/schedule/{name}",
            api.put,
            method="PUT",
            role=Role.ADMIN,
            status_code=HTTPStatus.OK,
            operation_id="putSchedule",
            summary="Make or change a schedule",
            tags=["schedule"],
            response_model=ScheduleView,
            response_description="The schedule of this name is now this one.",
            openapi_extra={
                "parameters": [_name_parameter()],
                "requestBody": accepts(ScheduleBody, NEW_SCHEDULE_EXAMPLES),
            },
            responses={
                HTTPStatus.OK: example(SCHEDULE_EXAMPLE),
                HTTPStatus.CREATED: {"model": ScheduleView, "description": "The schedule is made."}
                | example(SCHEDULE_EXAMPLE),
            }
            | problems(
                _EXAMPLE_PATH,
                {
                    HTTPStatus.BAD_REQUEST: "The body is not JSON.",
                    HTTPStatus.CONFLICT: _DECLARED,
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is longer than BODY_LIMIT_BYTES.",
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The Content-Type is not application/json.",
                    HTTPStatus.UNPROCESSABLE_ENTITY: "The body is JSON, but not what this call takes.",
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        ),
        BytesRoute(
            "/schedule",
            api.list_page,
            method="GET",
            role=Role.ADMIN,
            status_code=HTTPStatus.OK,
            operation_id="listSchedules",
            summary="List schedules",
            tags=["schedule"],
            response_model=ScheduleList,
            response_description="A page of schedules, by name.",
            openapi_extra={"parameters": _page_parameters()},
            responses={HTTPStatus.OK: example({"schedules": [SCHEDULE_EXAMPLE], "next": None})}
            | problems(
                "/schedule",
                {
                    HTTPStatus.UNPROCESSABLE_ENTITY: "The query is not what this call takes.",
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        ),
        BytesRoute(
            "/schedule/{name}",
            api.get,
            method="GET",
            role=Role.ADMIN,
            status_code=HTTPStatus.OK,
            operation_id="getSchedule",
            summary="Get a schedule",
            tags=["schedule"],
            response_model=ScheduleView,
            response_description="The schedule as it stands.",
            openapi_extra={"parameters": [_name_parameter()]},
            responses={HTTPStatus.OK: example(SCHEDULE_EXAMPLE)} | _problems({HTTPStatus.NOT_FOUND: NOT_FOUND}),
        ),
        BytesRoute(
            "/schedule/{name}",
            api.delete,
            method="DELETE",
            role=Role.ADMIN,
            status_code=HTTPStatus.NO_CONTENT,
            operation_id="deleteSchedule",
            summary="Delete a schedule",
            tags=["schedule"],
            response_description="There is no such schedule any more.",
            openapi_extra={"parameters": [_name_parameter()]},
            responses=_problems({HTTPStatus.NOT_FOUND: NOT_FOUND, HTTPStatus.CONFLICT: _DECLARED}),
        ),
        BytesRoute(
            "/schedule/{name}/run",
            api.run,
            method="POST",
            role=Role.ADMIN,
            status_code=HTTPStatus.CREATED,
            operation_id="runSchedule",
            summary="Run a schedule now",
            tags=["schedule"],
            response_model=TaskView,
            response_description="The task is kept, as by POST /task.",
            openapi_extra={"parameters": [_name_parameter()]},
            responses={HTTPStatus.CREATED: example(TASK_EXAMPLE)}
            | _problems(
                {
                    HTTPStatus.NOT_FOUND: NOT_FOUND,
                    HTTPStatus.CONFLICT: "Its kind is gone, or no longer takes its content.",
                },
                "/run",
            ),
        ),
    ]


def _problems(descriptions: Mapping[HTTPStatus, str], path: str = "") -> dict[int | str, dict[str, Any]]:
    return problems(_EXAMPLE_PATH + path, {**descriptions, HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE})


def _name_parameter() -> dict[str, Any]:
    return {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "The schedule's name.",
        "schema": {"type": "string", "pattern": NAME_PATTERN},
        "example": SCHEDULE_EXAMPLE["name"],
    }


def _page_parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": "after",
            "in": "query",
            "description": "Only schedules whose names come after this one: `next` of the page before.",
            "schema": {"type": "string", "pattern": NAME_PATTERN},
            "example": SCHEDULE_EXAMPLE["name"],
        },
        {
            "name": "limit",
            "in": "query",
            "description": "The most schedules on a page.",
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
            "example": USUAL,
        },
    ]
