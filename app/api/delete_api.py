"""Deleting a task."""

from http import HTTPStatus

from starlette.types import Receive, Scope

from app.api.errors import ProblemError
from app.api.route import NO_DATABASE, BytesRoute, Reply, problems, task_id_parameter
from app.api.services import Services
from app.api.task_reader import NOT_FOUND
from app.api.task_schemas import TASK_EXAMPLE
from app.queue.delete import delete_task


class DeleteApi:
    """Deletes tasks that have ended."""

    def __init__(self, services: Services) -> None:
        self._database = services.database
        self._reader = services.reader
        self._emit = services.emit

    async def delete(self, scope: Scope, _: Receive) -> Reply:
        """Delete a task that has ended, before RETENTION_DAYS would have it deleted. There is no way back."""
        if not await delete_task(self._database, self._emit, await self._reader.visible_id(scope)):
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        return Reply(HTTPStatus.NO_CONTENT, None)


def delete_routes(api: DeleteApi) -> list[BytesRoute]:
    """Where the call is, with all that its callers have to know."""
    return [
        BytesRoute(
            "/task/{task_id}",
            api.delete,
            method="DELETE",
            status_code=HTTPStatus.NO_CONTENT,
            operation_id="deleteTask",
            summary="Delete a task that has ended",
            tags=["task"],
            response_description="There is no such task any more.",
            openapi_extra={"parameters": [task_id_parameter()]},
            responses=problems(
                f"/task/{TASK_EXAMPLE['id']}",
                {
                    HTTPStatus.NOT_FOUND: NOT_FOUND,
                    HTTPStatus.CONFLICT: "The task is pending or processing, or its group has not ended.",
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                },
            ),
        )
    ]
