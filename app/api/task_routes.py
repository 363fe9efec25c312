"""The calls for tasks, documented."""

from http import HTTPStatus

from app.api.callback_docs import callbacks
from app.api.delivery_schemas import TaskEnded
from app.api.idempotency_key import PARAMETER, REPLAYED_HEADER
from app.api.live_parameters import BAD_WAIT, TOO_MANY, add_waiting, wait_parameters
from app.api.new_task_schemas import NEW_TASK_EXAMPLES, NewTaskBody
from app.api.route import FULL, NO_DATABASE, WRONG_BODY, BytesRoute, accepts, example, problems, task_id_parameter
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
            openapi_extra={
                "requestBody": accepts(NewTaskBody, NEW_TASK_EXAMPLES),
                "parameters": [PARAMETER],
                "callbacks": callbacks(TaskEnded),
            },
            responses={HTTPStatus.CREATED: example(TASK_EXAMPLE) | {"headers": REPLAYED_HEADER}}
            | problems(
                "/task",
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
            "/task/{task_id}",
            api.get,
            method="GET",
            status_code=HTTPStatus.OK,
            operation_id="getTask",
            summary="Get a task",
            tags=["task"],
            response_model=TaskView,
            response_description="The task as it stands.",
            openapi_extra={"parameters": [task_id_parameter(), *wait_parameters()]},
            responses=add_waiting(
                {HTTPStatus.OK: example(TASK_EXAMPLE)}
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
