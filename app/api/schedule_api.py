"""The calls for schedules."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope
from uuid_utils.compat import uuid7

from app.api.body import parse, read_body
from app.api.errors import ProblemError
from app.api.route import BytesRoute, Reply, accepts, example, problems
from app.api.schedule_schemas import (
    NEW_SCHEDULE_EXAMPLES,
    SCHEDULE_EXAMPLE,
    ScheduleBody,
    ScheduleList,
    ScheduleView,
    render_schedule,
    render_schedules,
)
from app.api.task_schemas import TASK_EXAMPLE, TaskRenderer, TaskView
from app.api.traceparent import traceparent
from app.core.config import Settings
from app.core.errors import InvalidPayloadError, UnknownKindError
from app.core.events import Emit
from app.core.schedule import NAME_PATTERN, NAME_RULE, is_name
from app.core.task import NewTask, Task
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.create import Creator
from app.queue.follow_up import FollowUp
from app.queue.schedule import delete_schedule, list_schedules, put_schedule, read_schedule
from app.queue.wakeup import Wakeup

_MOST = 1_000
_USUAL = 100
_EXAMPLE_PATH = f"/schedule/{SCHEDULE_EXAMPLE['name']}"
_NOT_FOUND = "There is no schedule with this name."
_DECLARED = "The schedule is part of the configuration (SCHEDULES_FILE)."
_NO_DATABASE = "PostgreSQL does not answer; try again after Retry-After."


class ScheduleApi:
    """Answers for schedules."""

    def __init__(
        self, settings: Settings, catalog: Catalog, database: Database, wakeup: Wakeup, follow_up: FollowUp, emit: Emit
    ) -> None:
        self._body_limit = settings.body_limit_bytes
        self._default_kind = settings.default_kind
        self._catalog = catalog
        self._render_task = TaskRenderer(catalog)
        self._database = database
        self._creator = Creator(database, wakeup, follow_up, emit)

    def routes(self) -> list[BytesRoute]:
        """The routes, documented."""
        return [
            BytesRoute(
                "/schedule/{name}",
                self.put,
                method="PUT",
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
                        HTTPStatus.INTERNAL_SERVER_ERROR: _NO_DATABASE,
                    },
                ),
            ),
            BytesRoute(
                "/schedule",
                self.list_page,
                method="GET",
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
                        HTTPStatus.INTERNAL_SERVER_ERROR: _NO_DATABASE,
                    },
                ),
            ),
            BytesRoute(
                "/schedule/{name}",
                self.get,
                method="GET",
                status_code=HTTPStatus.OK,
                operation_id="getSchedule",
                summary="Get a schedule",
                tags=["schedule"],
                response_model=ScheduleView,
                response_description="The schedule as it stands.",
                openapi_extra={"parameters": [_name_parameter()]},
                responses={HTTPStatus.OK: example(SCHEDULE_EXAMPLE)} | _problems({HTTPStatus.NOT_FOUND: _NOT_FOUND}),
            ),
            BytesRoute(
                "/schedule/{name}",
                self.delete,
                method="DELETE",
                status_code=HTTPStatus.NO_CONTENT,
                operation_id="deleteSchedule",
                summary="Delete a schedule",
                tags=["schedule"],
                response_description="There is no such schedule any more.",
                openapi_extra={"parameters": [_name_parameter()]},
                responses=_problems({HTTPStatus.NOT_FOUND: _NOT_FOUND, HTTPStatus.CONFLICT: _DECLARED}),
            ),
            BytesRoute(
                "/schedule/{name}/run",
                self.run,
                method="POST",
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
                        HTTPStatus.NOT_FOUND: _NOT_FOUND,
                        HTTPStatus.CONFLICT: "Its kind is gone, or no longer takes its content.",
                    },
                    "/run",
                ),
            ),
        ]

    async def put(self, scope: Scope, receive: Receive) -> Reply:
        """Make a schedule, or change the one of this name. Each tick makes one task of this kind and content.

        A change of `cron`, `timezone` or `enabled` counts from now. Putting it again as it is changes nothing.
        """
        name: str = scope["path_params"]["name"]
        body = parse(ScheduleBody, await read_body(scope, receive, self._body_limit))
        if not is_name(name):
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"The name in the path is wrong: {NAME_RULE}.")
        new = body.to_schedule(name, self._default_kind, self._catalog.check)
        schedule, now, is_new = await put_schedule(self._database, new)
        return Reply(HTTPStatus.CREATED if is_new else HTTPStatus.OK, render_schedule(schedule, now))

    async def list_page(self, scope: Scope, _: Receive) -> bytes:
        """All schedules, by name, page by page."""
        after, limit = _page(scope["query_string"])
        found = await list_schedules(self._database, after, limit + 1)
        return render_schedules(found[:limit], found[limit - 1][0].name if len(found) > limit else None)

    async def get(self, scope: Scope, _: Receive) -> bytes:
        """A schedule by its name, with what its expression means and its next three runs."""
        found = await read_schedule(self._database, _name(scope))
        if found is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, _NOT_FOUND)
        return render_schedule(*found)

    async def delete(self, scope: Scope, _: Receive) -> Reply:
        """Delete a schedule. The tasks that it has made stay as they are."""
        if not await delete_schedule(self._database, _name(scope)):
            raise ProblemError(HTTPStatus.NOT_FOUND, _NOT_FOUND)
        return Reply(HTTPStatus.NO_CONTENT, None)

    async def run(self, scope: Scope, _: Receive) -> bytes:
        """Make a task of this schedule now, enabled or not. Its ticks are not affected."""
        found = await read_schedule(self._database, _name(scope))
        if found is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, _NOT_FOUND)
        schedule, _now = found
        try:
            self._catalog.check(schedule.kind, schedule.content)
        except UnknownKindError as error:
            raise ProblemError(HTTPStatus.CONFLICT, f"The schedule's kind is gone. {error}") from None
        except InvalidPayloadError as error:
            detail = f"The schedule's kind no longer takes its content: {error}."
            raise ProblemError(HTTPStatus.CONFLICT, detail) from None
        new = NewTask(uuid7(), schedule.kind, schedule.content, traceparent=traceparent(scope))
        (task,) = await self._creator.create([new])
        if not isinstance(task, Task):
            raise task
        return self._render_task(task)


def _name(scope: Scope) -> str:
    """The name in the path. What can't be one is the name of no schedule."""
    name: str = scope["path_params"]["name"]
    if not is_name(name):
        raise ProblemError(HTTPStatus.NOT_FOUND, _NOT_FOUND)
    return name


def _page(query_string: bytes) -> tuple[str, int]:
    """The name after which the page begins, and the most schedules on it."""
    after, limit = "", _USUAL
    for key, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        if key == "after" and is_name(value):
            after = value
        elif key == "limit" and value.isascii() and value.isdecimal() and 1 <= int(value[:5]) <= _MOST:
            limit = int(value)
        else:
            detail = f"The query takes `after`, the name of a schedule, and `limit`, from 1 to {_MOST}."
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    return after, limit


def _problems(descriptions: Mapping[HTTPStatus, str], path: str = "") -> dict[int | str, dict[str, Any]]:
    return problems(_EXAMPLE_PATH + path, {**descriptions, HTTPStatus.INTERNAL_SERVER_ERROR: _NO_DATABASE})


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
            "schema": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _USUAL},
            "example": _USUAL,
        },
    ]
