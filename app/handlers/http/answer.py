"""What a server's answer means for the task."""

import base64
import codecs
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from typing import Any

from aiohttp import ClientResponse, StreamReader

from app.handler_api.outcome import Done, ErrorCode, Fail, Outcome, Retry

LARGEST_BODY = 65_536  # bytes, decompressed
LONGEST_WAIT_SECONDS = 86_400

_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_KEPT_HEADERS = ("content-type", "content-language", "location", "etag", "last-modified", "link", "x-request-id")
_LONGEST_HEADER = 1_024
_LONGEST_QUOTE = 300  # characters of the body in a reason
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


async def outcome_of(response: ClientResponse) -> Outcome:
    """The outcome. Reads no more of the body than it needs."""
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - what 2xx means
        return Done(await _result(response))
    reason = await _reason(response)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER:
        after = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        return Retry(after, reason, ErrorCode.DEPENDENCY_UNAVAILABLE)
    return Fail(reason)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, by a number of them or a date (RFC 9110, 10.2.3), at most a day; None: the kind's own backoff.

    None also for a date that has passed, by clocks that disagree, and for 0: all attempts would be used up in no time.
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,10}", value):
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    return min(seconds, LONGEST_WAIT_SECONDS) if seconds > 0 else None


async def _result(response: ClientResponse) -> dict[str, Any]:
    body, is_truncated = await _read(response.content, LARGEST_BODY)
    text = _text(body, is_truncated=is_truncated)
    return {
        "status": response.status,
        "headers": _headers(response.headers),
        "body": base64.b64encode(body).decode() if text is None else text,
        "is_base64": text is None,
        "truncated": is_truncated,
    }


async def _read(content: StreamReader, limit: int) -> tuple[bytes, bool]:
    """The body up to the limit, and whether there is more. It comes decompressed, in pieces of bounded size."""
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > limit:
            return bytes(body[:limit]), True
    return bytes(body), False


def _text(body: bytes, *, is_truncated: bool) -> str | None:
    """The text that it is, in UTF-8; None where it is none. A character that the limit has cut is left out."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(body, final=not is_truncated)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text  # which no JSON of Taskmill's has


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: _printable(headers[name])[:_LONGEST_HEADER] for name in _KEPT_HEADERS if name in headers}


async def _reason(response: ClientResponse) -> str:
    status = response.status
    reason = f"The server answered {status} {responses.get(status, '')}".rstrip()
    if status in range(300, 400) and "Location" in response.headers:
        reason += f", and redirects are not followed: {_printable(response.headers['Location'])[:_LONGEST_QUOTE]}"
    body, _ = await _read(response.content, 4 * _LONGEST_QUOTE)
    quote = _printable(body.decode(errors="replace")).strip()[:_LONGEST_QUOTE]
    return f"{reason}: {quote}" if quote else f"{reason}."


def _printable(text: str) -> str:
    """Without control characters, and without what is no text, which aiohttp leaves in headers as lone surrogates."""
    return _UNPRINTABLE.sub(" ", text.encode(errors="surrogateescape").decode(errors="replace"))
