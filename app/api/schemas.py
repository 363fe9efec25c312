"""The shapes of requests and answers."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import to_json as _to_json

from app.api.json_text import quoted as _quoted
from app.api.json_text import utc as _time
from app.core.storable import DEEPEST
from app.core.task import ErrorCode, NewTask, Priority, Task, TaskStatus
from app.handlers import Catalog

LONGEST_DELAY_SECONDS = 315_360_000  # ten years

PriorityName = Literal["high", "normal", "low"]

# Any JSON value: said in full, since an empty schema reads as an omission.
AnyJson = Annotated[Any, WithJsonSchema({"type": ["string", "object", "array", "number", "boolean", "null"]})]

# What core/storable.py lets pass, as far as JSON Schema can say it.
REFERENCE = {"$ref": "#/components/schemas/JsonValue"}
TEXT = {"type": "string", "pattern": "^[^\\u0000]*$"}
JSON_VALUE: dict[str, Any] = {
    "title": "JsonValue",
    "description": f"Any JSON value, at most {DEEPEST} levels deep, without NUL in strings and names. "
    "Integers beyond ±(2^53 - 1) that are written out are refused, since JSON readers disagree on them: send strings.",
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        TEXT,
        {"type": "number"},  # JSON Schema can't tell 1e22, which is taken, from 10000000000000000000000
        {"type": "array", "items": REFERENCE},
        {"type": "object", "propertyNames": TEXT, "additionalProperties": REFERENCE},
    ],
}


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc_3339(value: Any) -> Any:
    """A time in UTC, of a string and no other way to write one: pydantic would take "1700000000"."""
    if not isinstance(value, str):
        return value
    if not _RFC_3339.fullmatch(value):
        raise ValueError("is no time as RFC 3339 has it, as in 2026-12-24T18:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is a time that there is not") from None


class TaskOptions(BaseModel):
    """What may be said of a task besides what it is about."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "not": {
                "required": ["run_at", "delay_seconds"],
                "properties": {"run_at": {"type": "string"}, "delay_seconds": {"type": "number"}},
            }
        },
    )

    priority: Annotated[PriorityName, Field(description="Of the tasks that are due, higher ones start first.")] = (
        "normal"
    )
    run_at: Annotated[
        Annotated[AwareDatetime, BeforeValidator(_rfc_3339)] | None,
        Field(
            description="Not before this time (RFC 3339, with an offset). A time that has passed means at once.",
            examples=["2026-12-24T18:00:00Z"],
        ),
    ] = None
    delay_seconds: Annotated[
        float | None,
        Field(ge=0, le=LONGEST_DELAY_SECONDS, allow_inf_nan=False, description="Not before this long from now."),
    ] = None
    max_attempts: Annotated[
        int | None, Field(ge=1, le=1_000, description="How often it may be tried; the kind's where it is left out.")
    ] = None
    timeout_seconds: Annotated[
        float | None,
        Field(
            gt=0,
            le=LONGEST_DELAY_SECONDS,
            allow_inf_nan=False,
            description="How long an attempt may take; the kind's where it is left out.",
        ),
    ] = None
    concurrency_key: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            pattern=r"^[^\x00-\x1f\x7f]*$",
            description="Of the tasks with one key, `concurrency_limit` run at once, over all consumers.",
            examples=["customer-17"],
        ),
    ] = None
    concurrency_limit: Annotated[int, Field(ge=1, le=10_000, description="See `concurrency_key`.")] = 1

    @field_validator("delay_seconds")
    @classmethod
    def _not_both(cls, delay_seconds: float | None, info: ValidationInfo) -> float | None:
        if delay_seconds is not None and info.data.get("run_at") is not None:
            raise ValueError("says the same as run_at: send one of them")
        return delay_seconds


class NewTaskBody(TaskOptions):
    """A task to create."""

    model_config = ConfigDict(strict=True, extra="forbid", title="NewTask")

    content: Annotated[AnyJson, Field(description="What the task is about: any JSON value.")]  # described by JSON_VALUE
    kind: Annotated[
        str | None,
        Field(description="Which handler does it; DEFAULT_KIND where it is left out.", examples=["simulate"]),
    ] = None

    def to_task(self, task_id: UUID, kind: str, content: str, traceparent: str | None) -> NewTask:
        """The task that is asked for."""
        if not self.model_fields_set - {"content", "kind"}:
            return NewTask(task_id, kind, content, traceparent=traceparent)
        return NewTask(
            task_id,
            kind,
            content,
            priority=Priority[self.priority.upper()],
            run_at=self.run_at,
            delay=None if self.delay_seconds is None else timedelta(seconds=self.delay_seconds),
            max_attempts=self.max_attempts,
            timeout_seconds=self.timeout_seconds,
            concurrency_key=self.concurrency_key,
            concurrency_limit=self.concurrency_limit,
            traceparent=traceparent,
        )


NEW_TASK_EXAMPLES: dict[str, dict[str, Any]] = {
    "shortest": {"content": "hello"},
    "with its kind": {"kind": "simulate", "content": {"order": 17}},
    "later, and not for ever": {
        "content": "hello",
        "delay_seconds": 60,
        "priority": "high",
        "max_attempts": 3,
        "timeout_seconds": 30,
    },
    "one at a time": {"content": "hello", "concurrency_key": "customer-17"},
}


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
}
CANCELED_TASK_EXAMPLE = TASK_EXAMPLE | {
    "status": "canceled",
    "updated_at": "2024-10-28T08:04:09.412083Z",
    "finished_at": "2024-10-28T08:04:09.412083Z",
}


class Health(BaseModel):
    """The process is up."""

    status: Annotated[Literal["ok"], Field(examples=["ok"])] = "ok"


class Readiness(BaseModel):
    """Whether the process can serve requests (draft-inadarei-api-health-check)."""

    status: Annotated[Literal["pass", "warn", "fail"], Field(description="`warn`: it works, but without Redis.")]
    checks: Annotated[
        dict[str, list[dict[str, str]]],
        Field(examples=[{"postgresql": [{"status": "pass"}], "redis": [{"status": "pass"}]}]),
    ]


class FieldError(BaseModel):
    """What is wrong in one place of the body."""

    pointer: Annotated[str, Field(description="JSON pointer (RFC 6901).", examples=["/content"])]
    detail: Annotated[str, Field(examples=["is missing"])]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: Annotated[str, Field(examples=["about:blank"])]
    title: Annotated[str, Field(examples=["Not Found"])]
    status: Annotated[int, Field(examples=[404])]
    detail: Annotated[str, Field(examples=["There is no task with this id."])]
    instance: Annotated[str, Field(examples=["/task/0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"])]
    errors: Annotated[list[FieldError], Field(description="Only for bad input.")] = []


def to_json(value: Any) -> str:
    """JSON text of a parsed value."""
    return _to_json(value).decode()


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
        created_at = _time(task.created_at)
        run_at = created_at if task.run_at is task.created_at else _time(task.run_at)
        key = "null" if task.concurrency_key is None else to_json(task.concurrency_key)
        return (
            f'{{"id":"{task.id}","kind":"{task.kind}","content":{task.content},"status":"{task.status}",'
            f'"priority":"{_PRIORITIES[task.priority]}","attempt":{task.attempt},"max_attempts":{_number(max_attempts)},'
            f'"timeout_seconds":{_number(timeout)},"concurrency_key":{key},"group_id":{_quoted(task.group_id)},'
            f'"progress":{task.progress or "null"},"result":{task.result or "null"},"error":{task.error or "null"},'
            f'"history":{task.history or "[]"},"run_at":{run_at},"created_at":{created_at},'
            f'"updated_at":{_time(task.updated_at)},"started_at":{_time(task.started_at)},'
            f'"finished_at":{_time(task.finished_at)}}}'
        ).encode()


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)
