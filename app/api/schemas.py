"""The shapes of requests and answers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import to_json as _to_json

from app.api.storable import DEEPEST
from app.core.task import Task, TaskStatus
from app.handlers import BY_KIND

# Any JSON value: said in full, since an empty schema reads as an omission.
AnyJson = Annotated[Any, WithJsonSchema({"type": ["string", "object", "array", "number", "boolean", "null"]})]

# What api/storable.py lets pass, as far as JSON Schema can say it.
_REFERENCE = {"$ref": "#/components/schemas/JsonValue"}
_TEXT = {"type": "string", "pattern": "^[^\\u0000]*$"}
JSON_VALUE: dict[str, Any] = {
    "title": "JsonValue",
    "description": f"Any JSON value, at most {DEEPEST} levels deep, without NUL in strings and names. "
    "Integers beyond ±(2^53 - 1) that are written out are refused, since JSON readers disagree on them: send strings.",
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        _TEXT,
        {"type": "number"},  # JSON Schema can't tell 1e22, which is taken, from 10000000000000000000000
        {"type": "array", "items": _REFERENCE},
        {"type": "object", "propertyNames": _TEXT, "additionalProperties": _REFERENCE},
    ],
}


class NewTaskBody(BaseModel):
    """A task to create."""

    model_config = ConfigDict(strict=True, extra="forbid", title="NewTask")

    content: Annotated[AnyJson, Field(description="What the task is about: any JSON value.")]  # described by JSON_VALUE
    kind: Annotated[
        str | None,
        Field(description="Which handler does it; DEFAULT_KIND where it is left out.", examples=["simulate"]),
        WithJsonSchema({"anyOf": [{"type": "string", "enum": list(BY_KIND)}, {"type": "null"}]}),
    ] = None


NEW_TASK_EXAMPLES: dict[str, dict[str, Any]] = {
    "shortest": {"content": "hello"},
    "with its kind": {"kind": "simulate", "content": {"order": 17}},
}


class TaskView(BaseModel):
    """A task as it stands."""

    model_config = ConfigDict(title="Task")

    id: Annotated[str, Field(description="UUID, version 7.", examples=["0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"])]
    kind: Annotated[str, Field(examples=["simulate"])]
    content: Annotated[AnyJson, Field(description="As it was posted.", examples=["hello"])]
    status: Annotated[TaskStatus, Field(examples=["pending"])]
    created_at: Annotated[
        datetime, Field(description="UTC, with microseconds.", examples=["2024-10-28T08:04:08.990161Z"])
    ]
    updated_at: Annotated[
        datetime | None, Field(description="Null until the first change after creation.", examples=[None])
    ]


TASK_EXAMPLE: dict[str, Any] = {
    "id": "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21",
    "kind": "simulate",
    "content": "hello",
    "status": "pending",
    "created_at": "2024-10-28T08:04:08.990161Z",
    "updated_at": None,
}
CANCELED_TASK_EXAMPLE = TASK_EXAMPLE | {"status": "canceled", "updated_at": "2024-10-28T08:04:09.412083Z"}


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


def render(task: Task) -> bytes:
    """The JSON of a TaskView. A test holds it to that.

    Written by hand so that the content goes in as the JSON text that it is: a megabyte of it is not parsed and written
    anew for every read.
    """
    updated_at = "null" if task.updated_at is None else f'"{_utc(task.updated_at)}"'
    return (
        f'{{"id":"{task.id}","kind":"{task.kind}","content":{task.content},"status":"{task.status}",'
        f'"created_at":"{_utc(task.created_at)}","updated_at":{updated_at}}}'
    ).encode()


def _utc(time: datetime) -> str:
    """RFC 3339 with microseconds and Z; PostgreSQL's driver gives UTC."""
    return time.isoformat(timespec="microseconds")[:26] + "Z"
