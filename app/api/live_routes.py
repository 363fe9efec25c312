"""The streams of events, documented."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from app.api import group_api, task_reader
from app.api.group_api import GroupApi
from app.api.group_schemas import GROUP_EXAMPLE
from app.api.live_parameters import TOO_MANY, add_retry_after, last_event_id
from app.api.route import NO_DATABASE, BytesRoute, Endpoint, id_parameter, problems, task_id_parameter
from app.api.task_api import TaskApi
from app.api.task_schemas import TASK_EXAMPLE


class EventStreamResponse(Response):
    """Stands for the media type in the documentation."""

    media_type = "text/event-stream"


def live_routes(tasks: TaskApi, groups: GroupApi) -> list[BytesRoute]:
    """Where each call is, with all that its callers have to know."""
    group_id = id_parameter("group_id", "The id that creating the group answered.")
    return [
        _route("task", tasks.events, task_id_parameter(), TASK_EXAMPLE, task_reader.NOT_FOUND),
        _route("group", groups.events, group_id, GROUP_EXAMPLE, group_api.NOT_FOUND),
    ]


def _route(
    name: str, endpoint: Endpoint, parameter: dict[str, Any], state: Mapping[str, Any], not_found: str
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
        response_class=EventStreamResponse,
        response_description=f"Events named `{name}`, and comments in between; it ends after the last.",
        openapi_extra={"parameters": [parameter, last_event_id()]},
        responses={
            HTTPStatus.OK: {"content": {EventStreamResponse.media_type: {"example": event}}},
            HTTPStatus.NO_CONTENT: {"description": "It has ended, and Last-Event-ID is its last event."},
        }
        | add_retry_after(problems(f"/{name}/{state['id']}/events", errors)),
    )
