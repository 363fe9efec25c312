"""What calls that wait take and answer besides, documented."""

from http import HTTPStatus
from typing import Any

from app.api.conditions import LONGEST_WAIT

TOO_MANY = "There are MAX_STREAMS open streams and long polls of this key already."
BAD_WAIT = f"The `wait` in the query is not a whole number from 0 to {LONGEST_WAIT}, or it is there twice."

_ETAG = {"description": 'Of this version: `W/"3"`.', "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}}
_APPLIED = {"description": "The `wait` that was preferred, where it was.", "schema": {"type": "string"}}


def wait_parameters() -> list[dict[str, Any]]:
    """`wait`, and the headers that go with it."""
    return [
        {
            "name": "wait",
            "in": "query",
            "description": "Seconds for which the answer may wait for the end; then it comes as things stand.",
            "schema": {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0},
            "example": 20,
        },
        _header("Prefer", "`wait=20`: the same as a header (RFC 7240). The query counts first.", "wait=20"),
        _header("If-None-Match", "The ETag of what is known: 304 while it is the same (RFC 9110).", 'W/"3"'),
    ]


def last_event_id() -> dict[str, Any]:
    """`Last-Event-ID`."""
    return _header("Last-Event-ID", "The id of the last event that got through; EventSource sends it by itself.", "3")


def add_waiting(responses: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """The headers of what is answered, and 304."""
    headers = {"ETag": _ETAG, "Preference-Applied": _APPLIED}
    responses[HTTPStatus.OK] = responses.get(HTTPStatus.OK, {}) | {"headers": headers}
    responses[HTTPStatus.NOT_MODIFIED] = {"description": "It is still what If-None-Match names.", "headers": headers}
    return add_retry_after(responses)


def add_retry_after(responses: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """The header of 429."""
    responses[HTTPStatus.TOO_MANY_REQUESTS]["headers"] = {"Retry-After": _RETRY_AFTER}
    return responses


def _header(name: str, description: str, example: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}, "example": example}
