"""What a server's answer means for the task."""

import base64
import codecs
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aiohttp import ClientResponse

from app.handler_api.http_answer import printable, read_body, reason_of, retry_after
from app.handler_api.outcome import Done, ErrorCode, Fail, Outcome, Retry

LARGEST_BODY = 65_536  # bytes, decompressed

_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_KEPT_HEADERS = ("content-type", "content-language", "location", "etag", "last-modified", "link", "x-request-id")
_LONGEST_HEADER = 1_024


async def outcome_of(response: ClientResponse) -> Outcome:
    """The outcome. Reads no more of the body than it needs."""
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - what 2xx means
        return Done(await _result(response))
    reason = await reason_of(response)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER:
        after = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        return Retry(after, reason, ErrorCode.DEPENDENCY_UNAVAILABLE)
    return Fail(reason)


async def _result(response: ClientResponse) -> dict[str, Any]:
    body, is_truncated = await read_body(response.content, LARGEST_BODY)
    text = _text(body, is_truncated=is_truncated)
    return {
        "status": response.status,
        "headers": _headers(response.headers),
        "body": base64.b64encode(body).decode() if text is None else text,
        "is_base64": text is None,
        "truncated": is_truncated,
    }


def _text(body: bytes, *, is_truncated: bool) -> str | None:
    """The text that it is, in UTF-8; None where it is none. A character that the limit has cut is left out."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(body, final=not is_truncated)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text  # which no JSON of Taskmill's has


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: printable(headers[name])[:_LONGEST_HEADER] for name in _KEPT_HEADERS if name in headers}
