"""The streams of events, documented."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from app.api import group_api, task_reader
from app.api.group_api import GroupApi
from app.api.group_schemas import GROUP_EXAMPLE, GroupView
from app.api.live_parameters import TOO_MANY, add_retry_after, last_event_id
from app.api.route import NO_DATABASE, BytesRoute, Endpoint, id_parameter, problems, task_id_parameter
from app.api.task_api import TaskApi
from app.api.task_schemas import TASK_EXAMPLE, TaskView

MEDIA_TYPE = "text/event-stream"


def live_routes(tasks: TaskApi, groups: GroupApi) -> list[BytesRoute]:
    """Where each call is, with all that its callers have to know."""
    group_id = id_parameter("group_id", "The id that creating the group answered.")
    return [
        _route("task", tasks.events, task_id_parameter(), TaskView, TASK_EXAMPLE, task_reader.NOT_FOUND),
        _route("group", groups.events, group_id, GroupView, GROUP_EXAMPLE, group_api.NOT_FOUND),
    ]


def _route(
    name: str,
    endpoint: Endpoint,
    parameter: dict[str, Any],
    model: type[BaseModel],
    state: Mapping[str, Any],
    not_found: str,
) -> BytesRoute:
    event = f"retry: 2000\n\nid: 1\nevent: {name}\ndata: {json.dumps(state, separators=(',', ':'))}\n\n"
    errors = {
        HTTPStatus.NOT_FOUND: not_found,
        HTTPStatus.TOO_MANY_REQUESTS: TOO_MANY,
        HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
    }
    return BytesRoute(
        f"/{name}/{{{name}_id}}/events",
        endpoint,
        method="GET",
        status_code=HTTPStatus.OK,
        operation_id=f"{name}Events",
        summary=f"Watch a {name}",
        tags=[name],
        response_class=Response,  # whose media type is none, so that FastAPI describes no body of its own
        response_description=f"Events named `{name}`, and comments in between; it ends after the last.",
        openapi_extra={"parameters": [parameter, last_event_id()]},
        responses={
            HTTPStatus.OK: {"content": {MEDIA_TYPE: {"itemSchema": _event_schema(name, model), "example": event}}},
            HTTPStatus.NO_CONTENT: {"description": "It has ended, and Last-Event-ID is its last event."},
        }
        | add_retry_after(problems(f"/{name}/{state['id']}/events", errors)),
    )


def _event_schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """One event of a stream: OpenAPI 3.2's way to say it, which FastAPI uses in 3.1 as well."""
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
    return {
        "type": "object",
        "required": ["data", "event", "id"],
        "properties": {
            "data": data | {"description": f"The whole {name}."},
            "event": {"type": "string", "const": name},
            "id": {"type": "string", "description": "Its version."},
            "retry": {"type": "integer", "description": "Milliseconds to wait before coming back."},
        },
    }
