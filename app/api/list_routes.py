"""The calls about many tasks, documented."""

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.api.bulk_api import BulkApi
from app.api.bulk_schemas import BULK_EXAMPLES, BulkBody
from app.api.idempotency_key import PARAMETER, REPLAYED_HEADER
from app.api.list_api import MOST, USUAL, ListApi
from app.api.route import NO_DATABASE, WRONG_BODY, BytesRoute, accepts, example, problems
from app.api.task_schemas import TASK_EXAMPLE, TaskView
from app.core.task import TaskStatus

_CURSOR_EXAMPLE = "AZLSq04fejCLbj8MmF1-IWhBc0VJZ1VYcnlLQkZ2WmN2c0RrT2hWcWdXTnZQTHc9"
_LINK = {
    "description": "The next page, as RFC 8288 has it; none on the last.",
    "schema": {"type": "string"},
    "example": f'</task?status=failed&cursor={_CURSOR_EXAMPLE}>; rel="next"',
}

BULK_TASK_EXAMPLE = TASK_EXAMPLE | {
    "kind": "bulk",
    "content": {
        "action": "retry",
        "filter": {"statuses": ["failed"], "kinds": ["simulate"]},
        "visible": {"is_all": True, "tenant": None},
        "dry_run": False,
    },
    "priority": "high",
    "max_attempts": 20,
}


class TaskList(BaseModel):
    """A page of tasks."""

    model_config = ConfigDict(title="TaskList")

    tasks: Annotated[list[TaskView], Field(description="Newest first. May be empty on any page.")]
    next: Annotated[
        str | None, Field(description="The `cursor` of the next page; null: this was the last.", examples=[None])
    ]


def list_routes(api: ListApi, bulk: BulkApi) -> list[BytesRoute]:
    """Where each call is, with all that its callers have to know."""
    return [
        BytesRoute(
            "/task",
            api.list_page,
            method="GET",
            status_code=HTTPStatus.OK,
            operation_id="listTasks",
            summary="List tasks",
            tags=["task"],
            response_model=TaskList,
            response_description="A page of tasks, newest first.",
            openapi_extra={"parameters": _parameters()},
            responses={
                HTTPStatus.OK: {"headers": {"Link": _LINK}}
                | example({"tasks": [TASK_EXAMPLE], "next": _CURSOR_EXAMPLE})
            }
            | problems(
                "/task",
                {
                    HTTPStatus.UNPROCESSABLE_ENTITY: "The query is not what this call takes.",
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        ),
        BytesRoute(
            "/task/bulk",
            bulk.create,
            method="POST",
            status_code=HTTPStatus.CREATED,
            operation_id="createBulk",
            summary="Cancel or retry many tasks",
            tags=["task"],
            response_model=TaskView,
            response_description="The task that does it is kept.",
            openapi_extra={"requestBody": accepts(BulkBody, BULK_EXAMPLES), "parameters": [PARAMETER]},
            responses={HTTPStatus.CREATED: example(BULK_TASK_EXAMPLE) | {"headers": REPLAYED_HEADER}}
            | problems(
                "/task/bulk",
                {
                    HTTPStatus.BAD_REQUEST: "The body is not JSON, or the Idempotency-Key is none.",
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is longer than BODY_LIMIT_BYTES.",
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The Content-Type is not application/json.",
                    HTTPStatus.UNPROCESSABLE_ENTITY: WRONG_BODY,
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        ),
    ]


def _parameters() -> list[dict[str, Any]]:
    statuses = {"type": "array", "items": {"type": "string", "enum": list(TaskStatus)}, "minItems": 1, "maxItems": 10}
    kinds = {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^\\u0000,]+$"},
        "minItems": 1,
        "maxItems": 20,
    }
    time = {"type": "string", "format": "date-time"}
    return [
        _parameter("status", "One of these. Several: repeated, or with commas.", statuses, ["failed", "canceled"]),
        _parameter("kind", "One of these. Several: repeated, or with commas.", kinds, ["simulate"]),
        _parameter(
            "group", "Members of the group with this id.", {"type": "string", "format": "uuid"}, TASK_EXAMPLE["id"]
        ),
        _parameter("priority", "Of this priority.", {"type": "string", "enum": ["high", "normal", "low"]}, "high"),
        *(
            _parameter(f"{what}_{which}", f"{words} {until} (RFC 3339).", time, "2026-11-22T12:00:00Z")
            for what, words in (("created", "Created"), ("finished", "Ended"))
            for which, until in (("after", "at this time or later"), ("before", "before this time"))
        ),
        {
            "name": "content",
            "in": "query",
            "description": "`content.customer=17`: the content is an object, and what it has by this name, as text, is "
            "this. Up to ten names.",
            "style": "form",
            "explode": True,
            "schema": {
                "type": "object",
                "propertyNames": {"pattern": "^content\\.[^\\u0000]{1,255}$"},
                "additionalProperties": {"type": "string", "pattern": "^[^\\u0000]*$", "maxLength": 1_000},
                "maxProperties": 10,
            },
            "example": {"content.customer": "17"},
        },
        _parameter(
            "limit",
            "The most tasks on a page.",
            {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
            USUAL,
        ),
        _parameter(
            "cursor",
            "`next` of the page before, with the same filter.",
            {"type": "string", "minLength": 64, "maxLength": 64},
            _CURSOR_EXAMPLE,
        ),
    ]


def _parameter(name: str, description: str, schema: dict[str, Any], sample: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, "example": sample}
