"""Reads a request that is a stream of lines."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.types import Message, Receive

from app.api.body import too_long
from app.api.errors import ProblemError

SILENCE_SECONDS = 60.0  # after so long without a byte the stream is over

STOPPED = "This process is being stopped; send the lines that have no answer again."

_SPACE = b" \t\r"
_CLOSE = {"Connection": "close"}  # more may come, which nobody reads

Line = bytes | ProblemError


class Stopping:
    """Whether the process is about to end: for those who would wait for a client."""

    def __init__(self) -> None:
        self.is_set = False
        self._waits: set[asyncio.Timeout] = set()

    def set(self) -> None:
        """Nobody waits any more."""
        self.is_set = True
        for wait in self._waits:
            wait.reschedule(0)  # long ago

    @contextmanager
    def ends(self, wait: asyncio.Timeout) -> Iterator[None]:
        """Within, it is over as soon as the process stops."""
        self._waits.add(wait)
        try:
            yield
        finally:
            self._waits.discard(wait)


async def read_lines(receive: Receive, limit: int, at_once: int, stopping: Stopping) -> AsyncIterator[list[Line]]:
    """The lines as they come, without blank ones, `at_once` at most; of one longer than `limit` bytes a ProblemError.

    What has come may be no whole line: then the list is empty. While nobody asks for the next one nothing is read, so
    that the client has to wait, too. A line without an end is one if the request ends in order, and none if the client
    has gone. Raises ProblemError: 408 where the client is silent for too long, 503 where the process stops.
    """
    rest: list[bytes] = []  # of a line whose end has not come: joined once, or a long one would cost its square
    size, is_skipping, has_more = 0, False, True
    while has_more:
        message = await _next(receive, stopping)
        if message["type"] == "http.disconnect":
            return
        has_more = message.get("more_body", False)
        body = message.get("body", b"")
        rest.append(body)
        size += len(body)
        complete: list[bytes] = []
        if b"\n" in body:
            *complete, last = b"".join(rest).split(b"\n")
            rest, size = [last], len(last)
        if is_skipping and complete:
            is_skipping = False
            del complete[0]
        if is_skipping:
            rest, size = [], 0
        lines: list[Line] = [line if len(line) <= limit else too_long(limit) for line in complete if line.strip(_SPACE)]
        if size > limit:
            lines.append(too_long(limit))
            rest, size, is_skipping = [], 0, True
        elif not has_more and (last := b"".join(rest)).strip(_SPACE):
            lines.append(last)
        for start in range(0, len(lines) or 1, at_once):
            yield lines[start : start + at_once]


async def _next(receive: Receive, stopping: Stopping) -> Message:
    if not stopping.is_set:
        try:
            async with asyncio.timeout(SILENCE_SECONDS) as wait:
                with stopping.ends(wait):
                    return await receive()
        except TimeoutError:
            if not stopping.is_set:
                detail = f"No byte has come for {SILENCE_SECONDS:g} s."
                raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, detail, headers=_CLOSE) from None
    raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, STOPPED, headers=_CLOSE | {"Retry-After": "1"})
