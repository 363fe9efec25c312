"""What handlers read of the answer to a request: no more than they need, and fit for a log."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses

from aiohttp import ClientResponse, StreamReader

LONGEST_WAIT_SECONDS = 86_400
LONGEST_QUOTE = 300  # characters of the body in a reason

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


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


async def read_body(content: StreamReader, limit: int) -> tuple[bytes, bool]:
    """The body up to the limit, and whether there is more. It comes decompressed, in pieces of bounded size."""
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > limit:
            return bytes(body[:limit]), True
    return bytes(body), False


async def reason_of(response: ClientResponse) -> str:
    """What is to be said of an answer that is no success: its status, and how its body begins."""
    status = response.status
    reason = f"The server answered {status} {responses.get(status, '')}".rstrip()
    if status in range(300, 400) and "Location" in response.headers:
        reason += f", and redirects are not followed: {printable(response.headers['Location'])[:LONGEST_QUOTE]}"
    body, _ = await read_body(response.content, 4 * LONGEST_QUOTE)
    quote = printable(body.decode(errors="replace")).strip()[:LONGEST_QUOTE]
    return f"{reason}: {quote}" if quote else f"{reason}."


def printable(text: str) -> str:
    """Without control characters, and without what is no text, which aiohttp leaves in headers as lone surrogates."""
    return _UNPRINTABLE.sub(" ", text.encode(errors="surrogateescape").decode(errors="replace"))
