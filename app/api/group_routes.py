"""The calls for groups, documented."""

from http import HTTPStatus

from app.api.callback_docs import callbacks
from app.api.delivery_schemas import GroupEnded
from app.api.group_api import NOT_FOUND, GroupApi
from app.api.group_schemas import (
    CANCELED_GROUP_EXAMPLE,
    GROUP_EXAMPLE,
    NEW_GROUP_EXAMPLE,
    NEW_GROUP_EXAMPLES,
    GroupView,
    NewGroupBody,
    NewGroupView,
)
from app.api.idempotency_key import PARAMETER, REPLAYED_HEADER
from app.api.live_parameters import BAD_WAIT, TOO_MANY, add_waiting, wait_parameters
from app.api.route import FULL, NO_DATABASE, WRONG_BODY, BytesRoute, accepts, example, id_parameter, problems

_EXAMPLE_PATH = f"/group/{GROUP_EXAMPLE['id']}"


def group_routes(api: GroupApi) -> list[BytesRoute]:
    """Where each call is, with all that its callers have to know."""
    parameter = id_parameter("group_id", "The id that creating the group answered.")
    return [
        BytesRoute(
            "/group",
            api.create,
            method="POST",
            status_code=HTTPStatus.CREATED,
            operation_id="createGroup",
            summary="Create a group of tasks",
            tags=["group"],
            response_model=NewGroupView,
            response_description="The group and all its tasks are kept; or, with any other answer but 500, none.",
            openapi_extra={
                "requestBody": accepts(NewGroupBody, NEW_GROUP_EXAMPLES),
                "parameters": [PARAMETER],
                "callbacks": callbacks(GroupEnded),
            },
            responses={HTTPStatus.CREATED: example(NEW_GROUP_EXAMPLE) | {"headers": REPLAYED_HEADER}}
            | problems(
                "/group",
                {
                    HTTPStatus.BAD_REQUEST: "The body is not JSON, or the Idempotency-Key is none.",
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is longer than BODY_LIMIT_BYTES.",
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The Content-Type is not application/json.",
                    HTTPStatus.UNPROCESSABLE_ENTITY: WRONG_BODY,
                    HTTPStatus.TOO_MANY_REQUESTS: FULL,
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        ),
        BytesRoute(
            "/group/{group_id}",
            api.get,
            method="GET",
            status_code=HTTPStatus.OK,
            operation_id="getGroup",
            summary="Get a group",
            tags=["group"],
            response_model=GroupView,
            response_description="The group as it stands, counted in this moment.",
            openapi_extra={"parameters": [parameter, *wait_parameters()]},
            responses=add_waiting(
                {HTTPStatus.OK: example(GROUP_EXAMPLE)}
                | problems(
                    _EXAMPLE_PATH,
                    {
                        HTTPStatus.NOT_FOUND: NOT_FOUND,
                        HTTPStatus.UNPROCESSABLE_ENTITY: BAD_WAIT,
                        HTTPStatus.TOO_MANY_REQUESTS: TOO_MANY,
                        HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                    },
                )
            ),
        ),
        BytesRoute(
            "/group/{group_id}/cancel",
            api.cancel,
            method="PATCH",
            status_code=HTTPStatus.OK,
            operation_id="cancelGroup",
            summary="Cancel a group",
            tags=["group"],
            response_model=GroupView,
            response_description="The group is canceled, now or before: no member will be completed any more.",
            openapi_extra={"parameters": [parameter]},
            responses={HTTPStatus.OK: example(CANCELED_GROUP_EXAMPLE)}
            | problems(
                f"{_EXAMPLE_PATH}/cancel",
                {
                    HTTPStatus.BAD_REQUEST: "The group has already ended.",
                    HTTPStatus.NOT_FOUND: NOT_FOUND,
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        ),
    ]
