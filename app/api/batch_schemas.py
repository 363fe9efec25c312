"""The shapes of requests and answers about batches."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.api.errors import MOST_ERRORS, ProblemError
from app.api.schemas import FieldError
from app.api.task_schemas import TASK_EXAMPLE, TaskView

MOST_ITEMS = 1_000


class ItemProblem(BaseModel):
    """Why an item was refused: as the answer of `POST /task` would say it."""

    model_config = ConfigDict(title="ItemProblem")

    type: Annotated[str, Field(examples=["about:blank"])]
    title: Annotated[str, Field(examples=["Unprocessable Entity"])]
    status: Annotated[int, Field(examples=[422])]
    detail: Annotated[str, Field(examples=["The body is JSON, but not what this call takes."])]
    errors: Annotated[list[FieldError], Field(description="Only for bad input; pointers into the item.")] = []


class BatchItem(BaseModel):
    """What became of an item: it has either a task or an error."""

    model_config = ConfigDict(
        title="BatchItem", json_schema_extra={"oneOf": [{"required": ["task"]}, {"required": ["error"]}]}
    )

    index: Annotated[int, Field(description="Its place in the request, from 0.", examples=[0])]
    replayed: Annotated[
        bool, Field(description="True where an earlier line with this Idempotency-Key has made the task.")
    ] = False
    task: TaskView = Field(default=None, description="The task as it was created.")  # type: ignore[assignment]
    error: ItemProblem = Field(default=None, description="Why there is none.")  # type: ignore[assignment]


class BatchView(BaseModel):
    """What became of the items."""

    model_config = ConfigDict(title="Batch")

    created: Annotated[int, Field(description="How many tasks there are now.", examples=[1])]
    refused: Annotated[int, Field(description="How many items were wrong; they concern no other.", examples=[1])]
    items: Annotated[list[BatchItem], Field(description="One for each, in the order of the request.")]


NEW_BATCH_EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "two tasks": [{"content": "hello"}, {"content": {"order": 17}, "priority": "high"}],
    "one later, one at a time": [{"content": 1, "delay_seconds": 60}, {"content": 2, "concurrency_key": "customer-17"}],
}
NEW_LINES_EXAMPLE = '{"content": "hello"}\n{"content": {"order": 17}, "priority": "high"}\n'
_WRONG_ITEM = {
    "index": 1,
    "error": {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "The body is JSON, but not what this call takes.",
        "errors": [{"pointer": "/content", "detail": "is missing"}],
    },
}
BATCH_EXAMPLE = {"created": 1, "refused": 0, "items": [{"index": 0, "task": TASK_EXAMPLE}]}
MIXED_BATCH_EXAMPLE = {"created": 1, "refused": 1, "items": [{"index": 0, "task": TASK_EXAMPLE}, _WRONG_ITEM]}
LINES_EXAMPLE = "".join(f"{json.dumps(item)}\n" for item in ({"index": 0, "task": TASK_EXAMPLE}, _WRONG_ITEM))


def render_item(index: int, task: str, *, is_replayed: bool = False) -> str:
    """The JSON of a BatchItem with a task."""
    replayed = '"replayed":true,' if is_replayed else ""
    return f'{{"index":{index},{replayed}"task":{task}}}'


def render_error(index: int, problem: ProblemError) -> str:
    """The JSON of a BatchItem that was refused."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in problem.errors[:MOST_ERRORS]]
    return json.dumps({"index": index, "error": body})


def render_batch(items: Sequence[str], refused: int) -> tuple[HTTPStatus, bytes]:
    """The status and the JSON of a BatchView."""
    text = f'{{"created":{len(items) - refused},"refused":{refused},"items":[{",".join(items)}]}}'
    return HTTPStatus.MULTI_STATUS if refused else HTTPStatus.CREATED, text.encode()
