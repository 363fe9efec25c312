"""The call for batches, documented."""

from http import HTTPStatus
from typing import Any

from starlette.types import Receive, Scope, Send

from app.api.batch_api import BatchApi
from app.api.batch_schemas import (
    BATCH_EXAMPLE,
    LINES_EXAMPLE,
    MIXED_BATCH_EXAMPLE,
    MOST_ITEMS,
    NEW_BATCH_EXAMPLES,
    NEW_LINES_EXAMPLE,
    BatchView,
)
from app.api.body import NDJSON, is_ndjson
from app.api.idempotency_key import PARAMETER, REPLAYED_HEADER
from app.api.ndjson import STOPPED
from app.api.new_task_schemas import NewTaskBody
from app.api.openapi import reference
from app.api.route import FULL, NO_DATABASE, BytesRoute, problems

_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "array", "items": reference(NewTaskBody), "minItems": 1, "maxItems": MOST_ITEMS},
            "examples": {name: {"value": value} for name, value in NEW_BATCH_EXAMPLES.items()},
        },
        NDJSON.decode(): {
            "schema": {"type": "string", "description": "A NewTask a line, as many as there are."},
            "examples": {"two lines": {"value": NEW_LINES_EXAMPLE}},
        },
    },
}


class _BatchRoute(BytesRoute):
    """Lines are answered by `api.stream`."""

    def __init__(self, path: str, api: BatchApi, **documentation: Any) -> None:
        super().__init__(path, api.create, **documentation)
        create = self.app

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            self.admit(scope)
            await (api.stream if is_ndjson(scope) else create)(scope, receive, send)

        self.app = answer


def batch_routes(api: BatchApi) -> list[BytesRoute]:
    """Where it is, with all that its callers have to know."""
    return [
        _BatchRoute(
            "/task/batch",
            api,
            method="POST",
            status_code=HTTPStatus.CREATED,
            operation_id="createTasks",
            summary="Create many tasks",
            tags=["task"],
            response_model=BatchView,
            response_description="All tasks are kept.",
            openapi_extra={"requestBody": _BODY, "parameters": [PARAMETER]},
            responses={
                HTTPStatus.OK: {
                    "description": "To lines: what became of each, in order. It may also break off.",
                    "content": {
                        NDJSON.decode(): {
                            "schema": {"type": "string", "description": "A BatchItem a line."},
                            "example": LINES_EXAMPLE,
                        }
                    },
                },
                HTTPStatus.CREATED: {
                    "content": {"application/json": {"example": BATCH_EXAMPLE}},
                    "headers": REPLAYED_HEADER,
                },
                HTTPStatus.MULTI_STATUS: {
                    "description": "Some items were wrong, or all; the tasks of the others are kept.",
                    "model": BatchView,
                    "content": {"application/json": {"example": MIXED_BATCH_EXAMPLE}},
                    "headers": REPLAYED_HEADER,
                },
            }
            | problems(
                "/task/batch",
                {
                    HTTPStatus.BAD_REQUEST: "The body is not JSON, or the Idempotency-Key is none.",
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is longer than BODY_LIMIT_BYTES.",
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The Content-Type is neither application/json nor "
                    "application/x-ndjson.",
                    HTTPStatus.UNPROCESSABLE_ENTITY: "The body is JSON, but no array of 1 to 1,000; or the "
                    "Idempotency-Key was sent with another body.",
                    HTTPStatus.TOO_MANY_REQUESTS: FULL,
                    HTTPStatus.INTERNAL_SERVER_ERROR: NO_DATABASE,
                    HTTPStatus.SERVICE_UNAVAILABLE: STOPPED,
                },
            ),
        )
    ]
