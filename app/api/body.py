"""Reads a request's body: within the limit, and strictly JSON (RFC 8259, and the numbers of RFC 7493)."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from math import isfinite
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.api.errors import ProblemError
from app.utils.json_pointer import json_pointer

DEEPEST = 64
LARGEST_INTEGER = 2**53 - 1  # RFC 7493: beyond it, JSON readers disagree on the number

# What may be wrong in a value but parses. Only a body in which one of these occurs is walked.
_SUSPICIOUS = re.compile(rb"\\u0000|NaN|Infinity|[0-9]{16}|[0-9][eE]")

_MESSAGES = {"missing": "is missing", "extra_forbidden": "is not a field of this request"}

ModelT = TypeVar("ModelT", bound=BaseModel)
Path = tuple[str | int, ...]


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises ProblemError 413 as soon as it is too long, and 415 where it is not said to be JSON."""
    length = _check_headers(scope)
    if length > limit:
        raise _too_long(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_long(limit)
        if not message.get("more_body", False):
            return b"".join([*chunks, chunk]) if chunks else chunk
        chunks.append(chunk)


def parse(model: type[ModelT], body: bytes) -> ModelT:
    """The body as a model. Raises ProblemError 400 where it is not JSON, 422 where it is not what is asked for."""
    try:
        value = model.__pydantic_validator__.validate_json(body)
    except ValidationError as error:
        raise _from_validation(error, body) from None
    if _SUSPICIOUS.search(body) or body.count(b"[") + body.count(b"{") > DEEPEST:
        problems = [(json_pointer(path), detail) for path, detail in _unstorable(_fields(value))]
        if problems:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "A value can't be stored faithfully.", problems[:10])
    return value  # type: ignore[no-any-return]


def _check_headers(scope: Scope) -> int:
    """The announced length of the body, 0 where none is; a chunked body is counted as it comes."""
    content_type = b""
    length = 0
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length":
            length = int(value)  # the server has checked that it is a number
        elif name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            raise ProblemError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "Send the body without Content-Encoding.",
                headers={"Accept-Encoding": "identity"},
            )
    media_type, _, parameters = content_type.lower().partition(b";")
    charset = parameters.partition(b"charset=")[2].strip().strip(b'"')
    if media_type.strip() != b"application/json" or charset not in {b"", b"utf-8", b"utf8"}:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON in UTF-8, with the header Content-Type: application/json."
        )
    return length


def _too_long(limit: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is longer than {limit:,} bytes (BODY_LIMIT_BYTES).",
        headers={"Connection": "close"},  # the rest of the body is not read
    )


def _from_validation(error: ValidationError, body: bytes) -> ProblemError:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return ProblemError(HTTPStatus.BAD_REQUEST, _not_json(body, details[0]["msg"]))
    problems = [(json_pointer(d["loc"]), _MESSAGES.get(d["type"], d["msg"])) for d in details]
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The body is JSON, but not what this call takes.", problems[:10]
    )


def _not_json(body: bytes, message: str) -> str:
    if not body.strip():
        return "The body is empty; send a JSON object."
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "The body starts with a byte order mark; send plain UTF-8."
    if "recursion limit" in message:
        return f"The body is nested more than {DEEPEST} deep."
    return f"The body is not JSON in UTF-8: {message.removeprefix('Invalid JSON: ')}."


def _fields(model: BaseModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in model.model_fields_set}


def _unstorable(document: Any) -> Iterator[tuple[Path, str]]:
    """What is JSON by some readers, but does not come back as it was sent. Without recursion: depth is the client's."""
    stack: list[tuple[Path, Any]] = [((), document)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, str) and "\0" in value:
            yield path, "contains the NUL character"
        elif isinstance(value, float) and not isfinite(value):
            yield path, "is not a number that JSON has"
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            yield path, f"is an integer beyond ±{LARGEST_INTEGER}: JSON readers disagree on it; send it as a string"
        elif isinstance(value, dict | list):
            if len(path) >= DEEPEST:
                yield path[:3], f"is nested more than {DEEPEST} deep"
                return
            children = value.items() if isinstance(value, dict) else enumerate(value)
            for key, child in children:
                if isinstance(key, str) and "\0" in key:
                    yield path, "has a name with the NUL character"
                stack.append(((*path, key), child))
