"""What is answered of a task."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.api.json_text import quoted, text, utc
from app.api.new_task_schemas import PriorityName
from app.api.schemas import AnyJson
from app.core.task import ErrorCode, Priority, Task, TaskStatus
from app.handlers import Catalog


class ProgressView(BaseModel):
    """How far a task is."""

    model_config = ConfigDict(title="Progress")

    done: Annotated[float, Field(description="In units of the handler's choice.", examples=[300])]
    total: Annotated[float | None, Field(description="Null where it is not known.", examples=[10_000])]
    message: Annotated[str | None, Field(examples=["page 3"])]


class ErrorView(BaseModel):
    """Why an attempt failed."""

    model_config = ConfigDict(title="TaskError")

    code: Annotated[ErrorCode, Field(description="For programs: one of a closed set.")]
    message: Annotated[str, Field(examples=["ValueError: no such customer"])]
    attempt: Annotated[int, Field(examples=[1])]
    at: Annotated[datetime, Field(examples=["2024-10-28T08:04:09.412083Z"])]


class TaskView(BaseModel):
    """A task as it stands."""

    model_config = ConfigDict(title="Task")

    id: Annotated[str, Field(description="UUID, version 7.", examples=["0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"])]
    kind: Annotated[str, Field(examples=["simulate"])]
    content: Annotated[AnyJson, Field(description="As it was posted.", examples=["hello"])]
    status: Annotated[TaskStatus, Field(examples=["pending"])]
    priority: Annotated[PriorityName, Field(examples=["normal"])]
    attempt: Annotated[int, Field(description="Counts the runs, from 1; 0 before the first.", examples=[0])]
    max_attempts: Annotated[int | None, Field(description="Null where this API does not know the kind.", examples=[5])]
    timeout_seconds: Annotated[float | None, Field(description="Of each attempt; null: no limit.", examples=[None])]
    concurrency_key: Annotated[str | None, Field(examples=[None])]
    group_id: Annotated[str | None, Field(description="The group it belongs to.", examples=[None])]
    progress: Annotated[ProgressView | None, Field(description="As its handler said it last.", examples=[None])]
    result: Annotated[AnyJson, Field(description="What its handler returned.", examples=[None])]
    error: Annotated[
        ErrorView | None, Field(description="Why it failed, or was canceled with its group.", examples=[None])
    ]
    history: Annotated[
        list[ErrorView], Field(description="The errors of earlier attempts, oldest first; the last 20.", examples=[[]])
    ]
    run_at: Annotated[datetime, Field(description="When it is due.", examples=["2024-10-28T08:04:08.990161Z"])]
    created_at: Annotated[
        datetime, Field(description="UTC, with microseconds.", examples=["2024-10-28T08:04:08.990161Z"])
    ]
    updated_at: Annotated[
        datetime | None, Field(description="Null until the first change after creation.", examples=[None])
    ]
    started_at: Annotated[datetime | None, Field(description="Of the last attempt.", examples=[None])]
    finished_at: Annotated[datetime | None, Field(description="When it ended.", examples=[None])]
    callback_url: Annotated[str | None, Field(description="What is told when it has ended.", examples=[None])]
    tenant: Annotated[str | None, Field(description="The label of the key that created it.", examples=[None])]
    version: Annotated[int, Field(description="Counts its changes, from 1.", examples=[1])]


TASK_EXAMPLE: dict[str, Any] = {
    "id": "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21",
    "kind": "simulate",
    "content": "hello",
    "status": "pending",
    "priority": "normal",
    "attempt": 0,
    "max_attempts": 5,
    "timeout_seconds": None,
    "concurrency_key": None,
    "group_id": None,
    "progress": None,
    "result": None,
    "error": None,
    "history": [],
    "run_at": "2024-10-28T08:04:08.990161Z",
    "created_at": "2024-10-28T08:04:08.990161Z",
    "updated_at": None,
    "started_at": None,
    "finished_at": None,
    "callback_url": None,
    "tenant": None,
    "version": 1,
}
CANCELED_TASK_EXAMPLE = TASK_EXAMPLE | {
    "status": "canceled",
    "updated_at": "2024-10-28T08:04:09.412083Z",
    "finished_at": "2024-10-28T08:04:09.412083Z",
    "version": 2,
}


_PRIORITIES = {priority.value: priority.name.lower() for priority in Priority}


class TaskRenderer:
    """Writes the JSON of a TaskView. A test holds it to that.

    By hand, so that content and result go in as the JSON text that they are: a megabyte of it is not parsed and written
    anew for every read.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._handlers = catalog.handlers

    def __call__(self, task: Task) -> bytes:
        """The bytes of an answer."""
        handler = self._handlers.get(task.kind)
        max_attempts, timeout = task.max_attempts, task.timeout_seconds
        if handler is not None:
            max_attempts = handler.max_attempts if max_attempts is None else max_attempts
            timeout = handler.timeout_seconds if timeout is None else timeout
        created_at = utc(task.created_at)
        run_at = created_at if task.run_at is task.created_at else utc(task.run_at)
        return (
            f'{{"id":"{task.id}","kind":"{task.kind}","content":{task.content},"status":"{task.status}",'
            f'"priority":"{_PRIORITIES[task.priority]}","attempt":{task.attempt},"max_attempts":{_number(max_attempts)},'
            f'"timeout_seconds":{_number(timeout)},"concurrency_key":{text(task.concurrency_key)},'
            f'"group_id":{quoted(task.group_id)},'
            f'"progress":{task.progress or "null"},"result":{task.result or "null"},"error":{task.error or "null"},'
            f'"history":{task.history or "[]"},"run_at":{run_at},"created_at":{created_at},'
            f'"updated_at":{utc(task.updated_at)},"started_at":{utc(task.started_at)},'
            f'"finished_at":{utc(task.finished_at)},"callback_url":{text(task.callback_url)},'
            f'"tenant":{text(task.tenant)},"version":{task.version}}}'
        ).encode()


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)
