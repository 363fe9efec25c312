"""The calls for tasks, documented."""

from http import HTTPStatus

from app.api.new_task_schemas import NEW_TASK_EXAMPLES, NewTaskBody
from app.api.route import FULL, NO_DATABASE, BytesRoute, accepts, example, problems, task_id_parameter
from app.api.task_api import TaskApi
from app.api.task_reader import NOT_FOUND
from app.api.task_schemas import CANCELED_TASK_EXAMPLE, TASK_EXAMPLE, TaskView

_EXAMPLE_PATH = f"/task/{TASK_EXAMPLE['id']}"


def task_routes(api: TaskApi) -> list[BytesRoute]:
    """Where each call is, with all that its callers have to know."""
    return [
        BytesRoute(
            "/task",
            api.create,
            method="POST",
            status_code=HTTPStatus.CREATED,
            operation_id="createTask",
            summary="Create a task",
            tags=["task"],
            response_model=TaskView,
            response_description="The task is kept: it will run, whatever happens to any process or to Redis.",
            openapi_extra={"requestBody": accepts(NewTaskBody, NEW_TASK_EXAMPLES)},
            responses={HTTPStatus.CREATED: example(TASK_EXAMPLE)}
            | problems(
                "/task",
                {
                    HTTPStatus.BAD_REQUEST: "The body is not JSON.",
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is longer than BODY_LIMIT_BYTES.",
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The Content-Type is not application/json.",
                    HTTPStatus.UNPROCESSABLE_ENTITY: "The body is JSON, but not what this call takes.",
                    HTTPStatus.TOO_MANY_REQUESTS: FULL,
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        ),
        BytesRoute(
            "/task/{task_id}",
            api.get,
            method="GET",
            status_code=HTTPStatus.OK,
            operation_id="getTask",
            summary="Get a task",
            tags=["task"],
            response_model=TaskView,
            response_description="The task as it stands.",
            openapi_extra={"parameters": [task_id_parameter()]},
            responses={HTTPStatus.OK: example(TASK_EXAMPLE)}
            | problems(_EXAMPLE_PATH, {HTTPStatus.NOT_FOUND: NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE}),
        ),
        BytesRoute(
            "/task/{task_id}/cancel",
            api.cancel,
            method="PATCH",
            status_code=HTTPStatus.OK,
            operation_id="cancelTask",
            summary="Cancel a task",
            tags=["task"],
            response_model=TaskView,
            response_description="The task is canceled, now or before, and will never be completed.",
            openapi_extra={"parameters": [task_id_parameter()]},
            responses={HTTPStatus.OK: example(CANCELED_TASK_EXAMPLE)}
            | problems(
                f"{_EXAMPLE_PATH}/cancel",
                {
                    HTTPStatus.BAD_REQUEST: "The task is already completed or failed.",
                    HTTPStatus.NOT_FOUND: NOT_FOUND,
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        ),
        BytesRoute(
            "/task/{task_id}/retry",
            api.retry,
            method="PATCH",
            status_code=HTTPStatus.OK,
            operation_id="retryTask",
            summary="Retry a failed task",
            tags=["task"],
            response_model=TaskView,
            response_description="The task is pending again, with all its attempts.",
            openapi_extra={"parameters": [task_id_parameter()]},
            responses={HTTPStatus.OK: example(TASK_EXAMPLE)}
            | problems(
                f"{_EXAMPLE_PATH}/retry",
                {
                    HTTPStatus.NOT_FOUND: NOT_FOUND,
                    HTTPStatus.CONFLICT: "The task is not failed.",
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        ),
    ]
