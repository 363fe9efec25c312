"""A client of the API that keeps a record of its calls and of what it knows of each afterwards."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from pydantic_core import to_json

from tests.chaos.answers import Made, made_by, made_by_lines, outcome_of
from tests.chaos.history import Call, Options, Outcome

CALL_SECONDS = 10.0
CONNECTIONS = 64
_KEEP_SECONDS = 3.0  # that a connection is idle: the API closes it after 5, whoever is about to use it
_JSON = "application/json"
_LINES = "application/x-ndjson"
_PRIORITIES = {"high": 0, "normal": 1, "low": 2}


class Asked(NamedTuple):
    """What a call asks for: the kind and the options of each task, in their order, and a group's `on_failure`."""

    kinds: tuple[str, ...] = ()
    options: tuple[Options, ...] = ()
    on_failure: str = ""


_NOTHING = Asked()


class Client:
    """Calls one API over a few connections that are kept. Each method is one call, noted in `calls`.

    It raises only where a 2xx can't be read.

    A 2xx is ok. A 4xx is a refusal, so nothing was done, but for 429. All else is unknown: a 5xx is a database that did
    not answer, also to a COMMIT. What a stream of lines has answered before it broke off is known: `ids` of an unknown
    batch are of tasks that are there.
    """

    def __init__(self, url: str, calls: list[Call], connections: int = CONNECTIONS) -> None:
        self._calls = calls
        self._session = ClientSession(
            url,
            connector=TCPConnector(limit=connections, keepalive_timeout=_KEEP_SECONDS),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=CALL_SECONDS),
        )

    async def create(self, task: Mapping[str, Any], marker: str, key: str = "") -> Call:
        """POST a task."""
        return await self._create("create", "/task", _asked([task]), marker, key, to_json(task))

    async def batch(self, tasks: Sequence[Mapping[str, Any]], marker: str, key: str = "") -> Call:
        """POST an array of tasks."""
        return await self._create("batch", "/task/batch", _asked(tasks), marker, key, to_json(tasks))

    async def lines(self, tasks: Sequence[Mapping[str, Any]], marker: str, key: str = "") -> Call:
        """POST tasks as lines. They are few, so that they need not be sent and read at once."""
        body = b"".join(to_json(task) + b"\n" for task in tasks)
        return await self._create("batch", "/task/batch", _asked(tasks), marker, key, body, _LINES)

    async def group(self, group: Mapping[str, Any], marker: str, key: str = "") -> Call:
        """POST a group. `ids` are its members', and last its `then` task's."""
        asked = _asked([*group["tasks"], group["then"]], group["on_failure"])
        return await self._create("group", "/group", asked, marker, key, to_json(group))

    async def read(self, task_id: str, wait_seconds: float = 0) -> Call:
        """GET a task, when it has ended or at the latest after `wait_seconds`."""
        query = f"?wait={wait_seconds:g}" if wait_seconds else ""
        return await self._call("read", "GET", f"/task/{task_id}{query}", about=task_id)

    async def cancel(self, task_id: str) -> Call:
        """Cancel a task."""
        return await self._call("cancel", "PATCH", f"/task/{task_id}/cancel", about=task_id)

    async def retry(self, task_id: str) -> Call:
        """Retry a failed task."""
        return await self._call("retry", "PATCH", f"/task/{task_id}/retry", about=task_id)

    async def read_group(self, group_id: str) -> Call:
        """GET a group."""
        return await self._call("read_group", "GET", f"/group/{group_id}", about_group=group_id)

    async def cancel_group(self, group_id: str) -> Call:
        """Cancel a group."""
        return await self._call("cancel_group", "PATCH", f"/group/{group_id}/cancel", about_group=group_id)

    async def put_schedule(self, name: str, schedule: Mapping[str, Any]) -> Call:
        """PUT a schedule."""
        return await self._call("put_schedule", "PUT", f"/schedule/{name}", marker=name, body=to_json(schedule))

    async def run_schedule(self, name: str) -> Call:
        """Have a schedule make a task now. All tasks of a schedule have its name for a marker."""
        return await self._call("schedule", "POST", f"/schedule/{name}/run", marker=name)

    async def delete_schedule(self, name: str) -> Call:
        """DELETE a schedule."""
        return await self._call("delete_schedule", "DELETE", f"/schedule/{name}", marker=name)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _create(
        self, verb: str, path: str, asked: Asked, marker: str, key: str, body: bytes, media_type: str = _JSON
    ) -> Call:
        return await self._call(
            verb, "POST", path, marker=marker, key=key, body=body, media_type=media_type, asked=asked
        )

    async def _call(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        marker: str = "",
        key: str = "",
        body: bytes | None = None,
        media_type: str = _JSON,
        about: str = "",
        about_group: str = "",
        asked: Asked = _NOTHING,
    ) -> Call:
        headers = {} if body is None else {"content-type": media_type}
        if key:
            headers["idempotency-key"] = key
        ids = (about,) if about else ()
        nothing_known = "", 0, asked.kinds, (), asked.options, asked.on_failure
        call = Call(verb, marker, key, time.time(), 0, Outcome.UNKNOWN, 0, ids, about_group, *nothing_known)
        try:
            code, data, is_whole = await self._send(method, path, body, headers)
        except asyncio.CancelledError:  # whoever asked waits no more, and it may be done all the same
            self._calls.append(call._replace(ended=time.time()))
            raise
        call = call._replace(ended=time.time(), code=code, outcome=outcome_of(code))
        made = Made()
        try:
            if media_type == _LINES and data and (call.outcome is Outcome.OK or not is_whole):
                made, is_answered = made_by_lines(data)
                if not is_answered or len(made.ids) < len(asked.kinds):
                    call = call._replace(outcome=Outcome.UNKNOWN)
            elif call.outcome is Outcome.OK and code != HTTPStatus.NO_CONTENT:
                made = made_by(data)
        finally:  # an answer that can't be read is one all the same, and names no task
            call = call._replace(
                ids=ids or made.ids,
                group=about_group or made.group,
                status=made.status,
                version=made.version,
                counts=made.counts,
            )
            self._calls.append(call)
        return call

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, bool]:
        """The code of the answer (0: there is none, or it broke off), what came of it, and whether that is all."""
        code, chunks, is_whole = 0, list[bytes](), False
        try:
            async with self._session.request(method, path, data=body, headers=headers) as response:
                code = response.status
                async for chunk in response.content.iter_any():
                    chunks.append(chunk)
                is_whole = True
        except (ClientError, OSError, TimeoutError):
            code = code if is_whole else 0
        return code, b"".join(chunks), is_whole

    async def __aenter__(self) -> Self:
        """Enter."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()


def _asked(tasks: Sequence[Mapping[str, Any]], on_failure: str = "") -> Asked:
    return Asked(tuple(task.get("kind", "") for task in tasks), tuple(map(_options, tasks)), on_failure)


def _options(task: Mapping[str, Any]) -> Options:
    return Options(
        priority=_PRIORITIES[task.get("priority", "normal")],
        delay_seconds=task.get("delay_seconds", 0.0),
        key=task.get("concurrency_key", ""),
        max_attempts=task.get("max_attempts", 0),
    )
