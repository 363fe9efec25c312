"""A client of the API that keeps a record of its calls and of what it knows of each afterwards."""

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from pydantic_core import from_json, to_json

from tests.chaos.history import STATUSES, Call, Outcome

CALL_SECONDS = 10.0
CONNECTIONS = 64
_JSON = "application/json"
_LINES = "application/x-ndjson"


class Made(NamedTuple):
    """What an answer speaks of."""

    ids: tuple[str, ...] = ()
    group: str = ""
    status: str = ""
    version: int = 0
    counts: tuple[int, ...] = ()


class Client:
    """Calls one API over a few connections that are kept. Each method is one call, noted in `calls`, and never raises.

    A 2xx is ok. A 4xx is a refusal, so nothing was done. All else is unknown: a 5xx stands for a database that did not
    answer, also to a COMMIT. What a stream of lines has answered before it broke off is known: `ids` of an unknown
    batch are of tasks that are there.
    """

    def __init__(self, url: str, calls: list[Call], connections: int = CONNECTIONS) -> None:
        self._calls = calls
        self._session = ClientSession(
            url,
            connector=TCPConnector(limit=connections),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=CALL_SECONDS),
        )

    async def create(self, task: Mapping[str, Any], marker: str, key: str = "") -> Call:
        """POST a task."""
        return await self._create("create", "/task", [task], marker, key, to_json(task))

    async def batch(self, tasks: Sequence[Mapping[str, Any]], marker: str, key: str = "") -> Call:
        """POST an array of tasks."""
        return await self._create("batch", "/task/batch", tasks, marker, key, to_json(tasks))

    async def lines(self, tasks: Sequence[Mapping[str, Any]], marker: str, key: str = "") -> Call:
        """POST tasks as lines. They are few, so that they need not be sent and read at once."""
        body = b"".join(to_json(task) + b"\n" for task in tasks)
        return await self._create("batch", "/task/batch", tasks, marker, key, body, _LINES)

    async def group(self, group: Mapping[str, Any], marker: str, key: str = "") -> Call:
        """POST a group. `ids` are its members', and last its `then` task's."""
        then = [group["then"]] if "then" in group else []
        return await self._create("group", "/group", [*group["tasks"], *then], marker, key, to_json(group))

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
        self,
        verb: str,
        path: str,
        tasks: Sequence[Mapping[str, Any]],
        marker: str,
        key: str,
        body: bytes,
        media_type: str = _JSON,
    ) -> Call:
        asked = tuple(task.get("kind", "") for task in tasks)
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
        asked: tuple[str, ...] = (),
    ) -> Call:
        headers = {} if body is None else {"content-type": media_type}
        if key:
            headers["idempotency-key"] = key
        code, chunks, is_whole = 0, list[bytes](), False
        invoked = time.time()
        try:
            async with self._session.request(method, path, data=body, headers=headers) as response:
                code = response.status
                async for chunk in response.content.iter_any():
                    chunks.append(chunk)
                is_whole = True
        except (ClientError, OSError, TimeoutError):
            code = code if is_whole else 0
        ended = time.time()
        made = Made()
        outcome = _outcome(code)
        if media_type == _LINES and chunks and (outcome is Outcome.OK or not is_whole):
            made, is_answered = _from_lines(b"".join(chunks))
            if not is_answered or len(made.ids) < len(asked):
                outcome = Outcome.UNKNOWN
        elif outcome is Outcome.OK and code != HTTPStatus.NO_CONTENT:
            made = _made(from_json(b"".join(chunks)))
        ids = made.ids if not about else (about,)
        group = about_group or made.group
        answer = ids, group, made.status, made.version, asked, made.counts
        call = Call(verb, marker, key, invoked, ended, outcome, code, *answer)
        self._calls.append(call)
        return call

    async def __aenter__(self) -> Self:
        """Enter."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()


def _outcome(code: int) -> Outcome:
    if HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome.OK
    if HTTPStatus.BAD_REQUEST <= code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Outcome.FAIL
    return Outcome.UNKNOWN


def _made(answer: Any) -> Made:
    """What the body of a 2xx says; a schedule says nothing of tasks."""
    if "items" in answer:
        return Made(tuple(item["task"]["id"] for item in answer["items"] if "task" in item))
    if "counts" in answer:
        ids = [*answer.get("task_ids", ()), *filter(None, [answer["then_task_id"]])]
        counts = answer["total"], *(answer["counts"][status] for status in STATUSES)
        return Made(tuple(ids), answer["id"], answer["status"], counts=counts)
    if "id" in answer:
        return Made((answer["id"],), status=answer["status"], version=answer["version"])
    return Made()


def _from_lines(data: bytes) -> tuple[Made, bool]:
    """The tasks in those lines that have come whole; and whether no line has an error."""
    answers = [from_json(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
    ids = tuple(answer["task"]["id"] for answer in answers if "task" in answer)
    return Made(ids), len(ids) == len(answers)
