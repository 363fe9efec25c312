"""Reads a request's body: within the limit, and strictly JSON (RFC 8259, and the numbers of RFC 7493)."""

import asyncio
import re
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.api.errors import MOST_ERRORS, ProblemError
from app.core.storable import DEEPEST, Path, unstorable
from app.utils.json_pointer import json_pointer

BODY_SECONDS = 30.0  # for a client that sends slowly; one that only holds the connection is let go

_LARGE_NUMBER = re.compile(rb"[0-9](?:[0-9]{15}|[eE])")

_MESSAGES = {"missing": "is missing", "extra_forbidden": "is not a field of this request"}

ModelT = TypeVar("ModelT", bound=BaseModel)


NDJSON = b"application/x-ndjson"
_JSON = b"application/json"


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body.

    Raises ProblemError 413 as soon as it is too long, 415 where it is not said to be JSON, and 408 where it does not
    come.
    """
    length = check_headers(scope)
    if length > limit:
        raise too_long(limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(receive, limit)
    except TimeoutError:
        detail = f"The body did not come within {BODY_SECONDS:g} s."
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, detail, headers={"Connection": "close"}) from None


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_long(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)  # nearly always of one


def parse(model: type[ModelT], body: bytes) -> ModelT:
    """The body as a model. Raises ProblemError 400 where it is not JSON, 422 where it is not what is asked for."""
    try:
        value = model.__pydantic_validator__.validate_json(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    if _is_suspicious(body):
        found = islice(_unstorable(value), MOST_ERRORS)
        problems = [(json_pointer(path), detail) for path, detail in found]
        if problems:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "A value can't be stored faithfully.", problems)
    return value  # type: ignore[no-any-return]


def _is_suspicious(body: bytes) -> bool:
    """Whether there may be what parses and can't be kept: only then a body is walked.

    The words apart from the expression, which would be tried at every byte if it could begin with one of them.
    """
    if rb"\u0000" in body or b"NaN" in body or b"Infinity" in body or _LARGE_NUMBER.search(body):
        return True
    return body.count(b"[") + body.count(b"{") > DEEPEST


def check_headers(scope: Scope, media_type: bytes = _JSON) -> int:
    """The announced length of the body, 0 where none is; a chunked body is counted as it comes.

    Raises ProblemError 415 where the body is not said to be of the media type, in UTF-8 and as it is.
    """
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
    if not _is_in_utf8(content_type, media_type):
        name = media_type.decode()
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send JSON in UTF-8, with the header Content-Type: {name}."
        )
    return length


def is_ndjson(scope: Scope) -> bool:
    """Whether the body is said to be lines of JSON."""
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    return len(types) == 1 and types[0].lower().partition(b";")[0].strip() == NDJSON


def _is_in_utf8(content_type: bytes, wanted: bytes) -> bool:
    if content_type == wanted:  # nearly always
        return True
    media_type, *parameters = content_type.lower().split(b";")
    if media_type.strip() != wanted:
        return False
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"charset" and value.strip().strip(b'"') not in {b"utf-8", b"utf8"}:
            return False
    return True


def too_long(limit: int) -> ProblemError:
    """413."""
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is longer than {limit:,} bytes (BODY_LIMIT_BYTES).",
        headers={"Connection": "close"},  # the rest of the body is not read
    )


def from_validation(error: ValidationError, body: bytes) -> ProblemError:
    """400 where the body is not JSON, 422 where it is not what is asked for."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return ProblemError(HTTPStatus.BAD_REQUEST, not_json(body, details[0]["msg"]))
    problems = [
        (json_pointer(_path(d["loc"])), _MESSAGES.get(d["type"], _plain(d["msg"]))) for d in details[:MOST_ERRORS]
    ]
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The body is JSON, but not what this call takes.", problems)


def _path(location: Path) -> Path:
    """Without pydantic's own mark for what is wrong with a name, and not with its value."""
    return location[:-1] if location[-1:] == ("[key]",) else location


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def not_json(body: bytes, message: str) -> str:
    """What is wrong with a body that is no JSON, of which the parser says this."""
    if not body.strip():
        return "The body is empty; send a JSON object."
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "The body starts with a byte order mark; send plain UTF-8."
    if "recursion limit" in message:
        return f"The body is nested more than {DEEPEST} deep."
    return f"The body is not JSON in UTF-8: {message.removeprefix('Invalid JSON: ')}."


def _unstorable(model: BaseModel, place: Path = ()) -> Iterator[tuple[Path, str]]:
    """What can't be kept in the fields of the model, and in those of the models in it."""
    fields = {name: getattr(model, name) for name in model.model_fields_set}
    for name, value in fields.items():
        if isinstance(value, BaseModel):
            fields[name] = None
            yield from _unstorable(value, (*place, name))
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            fields[name] = None
            for number, item in enumerate(value):
                yield from _unstorable(item, (*place, name, number))
    for path, detail in unstorable(fields):
        yield (*place, *path), detail
