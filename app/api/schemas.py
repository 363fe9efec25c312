"""Shapes that no one call owns: any JSON value, health, and problems."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WithJsonSchema
from pydantic_core import to_json as _to_json

from app.core.storable import DEEPEST

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
