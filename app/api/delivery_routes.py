"""The calls about deliveries, documented."""

from http import HTTPStatus
from typing import Any

from app.api import group_api, task_reader
from app.api.delivery_api import DeliveryApi
from app.api.delivery_schemas import DELIVERIES_EXAMPLE, DELIVERY_EXAMPLE, DeliveryList, DeliveryView
from app.api.group_schemas import GROUP_EXAMPLE
from app.api.route import NO_DATABASE, BytesRoute, Endpoint, example, id_parameter, problems, task_id_parameter
from app.api.task_schemas import TASK_EXAMPLE


def delivery_routes(api: DeliveryApi) -> list[BytesRoute]:
    """Where each call is, with all that its callers have to know."""
    task: dict[str, Any] = {
        "path": "/task/{task_id}/deliveries",
        "example_path": f"/task/{TASK_EXAMPLE['id']}/deliveries",
        "parameter": task_id_parameter(),
        "name": "task",
        "not_found": task_reader.NOT_FOUND,
    }
    group: dict[str, Any] = {
        "path": "/group/{group_id}/deliveries",
        "example_path": f"/group/{GROUP_EXAMPLE['id']}/deliveries",
        "parameter": id_parameter("group_id", "The id that creating the group answered."),
        "name": "group",
        "not_found": group_api.NOT_FOUND,
    }
    return [
        _list(api.of_task, **task),
        _repeat(api.repeat_of_task, **task),
        _list(api.of_group, **group),
        _repeat(api.repeat_of_group, **group),
    ]


def _list(
    endpoint: Endpoint, *, path: str, example_path: str, parameter: dict[str, Any], name: str, not_found: str
) -> BytesRoute:
    return BytesRoute(
        path,
        endpoint,
        method="GET",
        status_code=HTTPStatus.OK,
        operation_id=f"list{name.capitalize()}Deliveries",
        summary=f"List the deliveries of a {name}",
        tags=[name],
        response_model=DeliveryList,
        response_description="Its deliveries; none where it has not ended, or has no `callback_url`.",
        openapi_extra={"parameters": [parameter]},
        responses={HTTPStatus.OK: example(DELIVERIES_EXAMPLE)}
        | problems(example_path, {HTTPStatus.NOT_FOUND: not_found, HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE}),
    )


def _repeat(
    endpoint: Endpoint, *, path: str, example_path: str, parameter: dict[str, Any], name: str, not_found: str
) -> BytesRoute:
    return BytesRoute(
        path,
        endpoint,
        method="POST",
        status_code=HTTPStatus.CREATED,
        operation_id=f"redeliver{name.capitalize()}",
        summary=f"Tell again that a {name} has ended",
        tags=[name],
        response_model=DeliveryView,
        response_description="The new delivery.",
        openapi_extra={"parameters": [parameter]},
        responses={HTTPStatus.CREATED: example(DELIVERY_EXAMPLE)}
        | problems(
            example_path,
            {
                HTTPStatus.NOT_FOUND: not_found,
                HTTPStatus.CONFLICT: f"The {name} has no callback_url, or has not ended, or no delivery is kept.",
                HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
            },
        ),
    )
