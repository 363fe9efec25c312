"""The call that creates many tasks: as a JSON array, or as lines of JSON that are answered while they come."""

import asyncio
import time
from collections.abc import Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from pydantic_core import from_json
from starlette.types import Receive, Scope, Send

from app.api.batch_items import CheckedItems, ItemChecker
from app.api.batch_schemas import MOST_ITEMS, render_batch, render_error
from app.api.batch_writer import BatchWriter, Written
from app.api.body import NDJSON, check_headers, not_json, read_body
from app.api.callback_url import CallbackUrls
from app.api.errors import ProblemError, from_database_busy, from_database_unavailable
from app.api.idempotency_key import REPLAYED, idempotency_key, key_digest, sent_key
from app.api.ndjson import Line, Stopping, read_lines
from app.api.route import Reply
from app.api.services import Services
from app.core.errors import DatabaseBusyError, DatabaseUnavailableError
from app.core.idempotency import IdempotencyKey

SEND_SECONDS = 30.0  # for a client that does not read its answers
BUSY_SECONDS = 30.0  # that a stream waits for a connection which others use


class BatchApi:
    """Answers for batches."""

    def __init__(self, services: Services) -> None:
        self._limit = services.settings.body_limit_bytes
        self._checker = ItemChecker(
            services.catalog, services.settings.default_kind, CallbackUrls(services.settings, services.catalog)
        )
        self._writer = BatchWriter(services)
        self._backpressure = services.backpressure
        self._stopping = Stopping()
        # So that a part of a stream is never more than a queue can hold.
        self._most_lines = min(MOST_ITEMS, services.settings.max_pending or MOST_ITEMS)

    async def create(self, scope: Scope, receive: Receive) -> Reply:
        """Keep many tasks and put them in the queue, each as `POST /task` would; one that is wrong concerns no other.

        As `application/json`, an array of up to 1,000: all are created in one transaction, and then answered.

        As `application/x-ndjson`, one task a line, as many as there are: each line is answered by a line, in order,
        while more are sent. What has been read is created, also where the client goes away in the middle. A client has
        to read the answers while it sends. Where all connections to the database are in use, they are waited for. Where
        the database does not answer, the lines that it concerns are answered with errors of status 500, and the answer
        ends; where the process is stopped, it ends with an error of status 503. An Idempotency-Key holds for each line
        together with its index: the whole stream can be sent again from the start, and what is there already is
        not created again.
        """
        data = await read_body(scope, receive, self._limit)
        key = idempotency_key(scope, data)
        items = _parse(data)
        await asyncio.sleep(0)  # other requests get their turn between the steps
        found = self._checker.check(items)
        async with self._backpressure.room(found.kinds.values(), key):
            written = await self._writer.write(scope, found, key=key)
        texts = _in_order(found, written)
        status, body = render_batch(texts, len(texts) - len(written.tasks))
        return Reply(status, body, REPLAYED if written.is_replayed else ())

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same for lines."""
        check_headers(scope, NDJSON)
        key = sent_key(scope)
        index = 0
        is_begun = False
        try:
            async for lines in read_lines(receive, self._limit, self._most_lines, self._stopping):
                if not is_begun:
                    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", NDJSON)]}
                    await send(head)
                    is_begun = True
                answers, is_over = await self._answer(scope, lines, index, key)
                await _send(send, answers)
                index += len(lines)
                if is_over:
                    break
        except ProblemError as problem:
            if not is_begun:
                raise
            await _send(send, [render_error(index, problem)])
        except TimeoutError:
            return  # it does not read: the server closes the connection of an answer that has no end
        await send({"type": "http.response.body", "body": b""})

    async def _answer(
        self, scope: Scope, lines: Sequence[Line], first: int, key: bytes | None
    ) -> tuple[list[str], bool]:
        """What each line came to; and whether it is better to stop now."""
        found = self._checker.check([_parse_line(line) for line in lines])
        give_up = time.monotonic() + BUSY_SECONDS

        def waits_on() -> bool:
            return time.monotonic() < give_up and not self._stopping.is_set

        async def write() -> Written:
            if key is None:
                return await self._writer.write(scope, found, first, waits_on=waits_on)
            return await self._writer.write_lines(scope, found, first, keys, waits_on)

        keys = {} if key is None else _keys_of_lines(scope, key, lines, first)
        try:
            try:
                async with self._backpressure.room(found.kinds.values()):
                    written = await write()
            except ProblemError as problem:  # a queue is full, and may have room for those that come later
                known = await self._backpressure.known(keys.values()) if keys else set()
                for place in list(found.kinds):
                    if place not in keys or keys[place].key not in known:
                        found.refuse(place, problem)
                written = await write()
        except DatabaseBusyError as error:  # the same
            return _in_order(found, _none_written(found, first, from_database_busy(error)), first), False
        except DatabaseUnavailableError as error:
            return _in_order(found, _none_written(found, first, from_database_unavailable(error)), first), True
        return _in_order(found, written, first), False

    def stop(self) -> None:
        """Let all streams end: the process is about to."""
        self._stopping.set()

    async def drain(self) -> None:
        """Wait for the statements that are under way."""
        await self._writer.drain()


def _keys_of_lines(scope: Scope, key: bytes, lines: Sequence[Line], first: int) -> dict[int, IdempotencyKey]:
    return {
        place: IdempotencyKey(key_digest(scope, b"%b\n%d" % (key, first + place)), sha256(line).digest())
        for place, line in enumerate(lines)
        if isinstance(line, bytes)
    }


def _none_written(found: CheckedItems, first: int, problem: ProblemError) -> Written:
    return Written({}, {place: render_error(first + place, problem) for place in found.contents})


def _parse(data: bytes) -> list[Any]:
    """The items. Raises ProblemError where there are none, or too many."""
    items = _parse_line(data)
    if isinstance(items, ProblemError):
        raise items
    if not isinstance(items, list):
        detail = "is no array"
    elif not items:
        detail = "is empty"
    elif len(items) > MOST_ITEMS:
        detail = f"has more than {MOST_ITEMS:,} items: send them as application/x-ndjson, or in several requests"
    else:
        return items
    raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The body is JSON, but no batch.", [("", detail)])


def _parse_line(line: Line) -> Any:
    if isinstance(line, ProblemError):
        return line
    try:
        return from_json(line)
    except ValueError as error:
        return ProblemError(HTTPStatus.BAD_REQUEST, not_json(line, str(error)))


def _in_order(found: CheckedItems, written: Written, first: int = 0) -> list[str]:
    errors = {place: render_error(first + place, problem) for place, problem in found.problems.items()}
    texts = written.tasks | written.errors | errors
    return [texts[place] for place in range(len(texts))]


async def _send(send: Send, lines: Sequence[str]) -> None:
    if lines:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": "\n".join([*lines, ""]).encode(), "more_body": True})
