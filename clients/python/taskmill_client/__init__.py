"""A client of Taskmill, a task queue over HTTP: `Taskmill`, and `AsyncTaskmill` for asyncio.

    with Taskmill("http://localhost:8000") as taskmill:
        task = taskmill.create({"order": 17}, kind="simulate")
        print(taskmill.wait(task.id, timeout=60).status)

What a call does is written once, as a generator that asks for requests and pauses; the two classes differ only in how
they make them.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, Required, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx2

__all__ = [
    "ApiError",
    "AsyncTaskmill",
    "Counts",
    "Group",
    "GroupError",
    "NewTask",
    "NotFoundError",
    "Priority",
    "Progress",
    "Status",
    "Task",
    "TaskError",
    "TaskOptions",
    "Taskmill",
    "TaskmillError",
    "UnreachableError",
    "WaitTimeoutError",
]

Status = Literal["pending", "processing", "completed", "failed", "canceled"]
Priority = Literal["high", "normal", "low"]
Id = str | UUID

_KEY = re.compile(r"[ !#-\[\]-~]{1,250}")
_TOO_LARGE = 413
_PASSING = frozenset({429, 500, 502, 503, 504})  # the same request may do better later
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0
_LONGEST_RETRY_AFTER = 60.0  # who is asked to wait longer is told so
_LONG_POLL_SECONDS = 20
_STREAM_SILENCE = 45.0  # the service sends a comment every 15 s
_BATCH_TASKS, _BATCH_BYTES = 1_000, 900_000  # what one request takes, by default
_PAGE = 200


class TaskmillError(Exception):
    """Whatever goes wrong with Taskmill."""


class UnreachableError(TaskmillError):
    """The service does not answer, however often it is asked. Whether the last request took effect is unknown."""


class ApiError(TaskmillError):
    """The service refuses a request. `problem`: what it says (RFC 9457). `errors`: JSON pointers, and what is wrong."""

    def __init__(self, status: int, problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.problem = problem
        self.headers = headers or {}
        self.detail = str(problem.get("detail") or problem.get("title") or "")
        self.errors = [(str(one.get("pointer", "")), str(one.get("detail", ""))) for one in problem.get("errors", [])]
        super().__init__(f"{status} {self.detail}" + "".join(f"; {at}: {what}" for at, what in self.errors))

    @property
    def retry_after(self) -> float | None:
        """Seconds that the service asks to wait; None where it does not say."""
        said = self.headers.get("retry-after", "")
        return float(said) if said.isascii() and said.isdecimal() else None


class NotFoundError(ApiError):
    """There is no such thing, or not for this API key."""


class WaitTimeoutError(TaskmillError, TimeoutError):
    """What was waited for has not ended in time. `state`: the task or the group as it stood then."""

    def __init__(self, state: "Task | Group") -> None:
        self.state = state
        super().__init__(f"{state.id} is still {state.status}")


class TaskOptions(TypedDict, total=False):
    """What may be said of a new task besides its content."""

    kind: str | None
    priority: Priority
    run_at: datetime | None
    delay_seconds: float | None
    max_attempts: int | None
    timeout_seconds: float | None
    concurrency_key: str | None
    concurrency_limit: int
    callback_url: str | None


class NewTask(TaskOptions, total=False):
    """A task of a batch or of a group. `content`: any JSON value."""

    content: Required[Any]


@dataclass(frozen=True)
class Progress:
    """How far a task is. `total`: None where it is not known."""

    done: float
    total: float | None = None
    message: str | None = None


@dataclass(frozen=True)
class TaskError:
    """Why an attempt failed. `code` is for programs."""

    code: str
    message: str
    attempt: int | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class GroupError(TaskError):
    """Why a member of a group failed."""

    task_id: str | None = None


@dataclass(frozen=True)
class Task:
    """A task as it stood when it was asked for. Fields that the service does not send are None."""

    id: str
    content: Any
    status: Status
    created_at: datetime
    updated_at: datetime | None
    kind: str | None = None
    priority: Priority | None = None
    attempt: int | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    concurrency_key: str | None = None
    group_id: str | None = None
    progress: Progress | None = None
    result: Any = None
    error: TaskError | None = None
    history: tuple[TaskError, ...] = ()
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    callback_url: str | None = None
    tenant: str | None = None
    version: int | None = None

    @property
    def has_ended(self) -> bool:
        """It is completed, failed or canceled."""
        return self.status in {"completed", "failed", "canceled"}


@dataclass(frozen=True)
class Counts:
    """How many members of a group have each status."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    canceled: int = 0


@dataclass(frozen=True)
class Group:
    """A group as it stood when it was asked for. `task_ids`: only of a group that was just created."""

    id: str
    status: Literal["open", "ended"]
    total: int
    counts: Counts
    created_at: datetime
    on_failure: Literal["continue", "cancel_rest"] | None = None
    progress: Progress | None = None
    errors: tuple[GroupError, ...] = ()
    then_task_id: str | None = None
    canceled_at: datetime | None = None
    ended_at: datetime | None = None
    callback_url: str | None = None
    tenant: str | None = None
    version: int | None = None
    task_ids: tuple[str, ...] | None = None

    @property
    def has_ended(self) -> bool:
        """No member is pending or processing any more."""
        return self.status == "ended"


Shape = TypeVar("Shape")
State = TypeVar("State", Task, Group)
Value = TypeVar("Value")

_TIMES = frozenset({"at", "run_at", "created_at", "updated_at", "started_at", "finished_at", "canceled_at", "ended_at"})
_INNER: dict[type, dict[str, type]] = {
    Task: {"progress": Progress, "error": TaskError, "history": TaskError},
    Group: {"progress": Progress, "counts": Counts, "errors": GroupError},
}


def _read(shape: type[Shape], data: Any) -> Shape:
    """The shape of what was answered; fields that a newer service sends are left out."""
    inner = _INNER.get(shape, {})
    known = {one.name for one in fields(shape)}  # type: ignore[arg-type]
    values = {}
    for name, value in data.items():
        if name not in known:
            continue
        if value is None or not (name in inner or name in _TIMES or name == "task_ids"):
            values[name] = value
        elif name in _TIMES:
            values[name] = datetime.fromisoformat(value)
        elif isinstance(value, list):
            values[name] = tuple(_read(inner[name], one) if name in inner else one for one in value)
        else:
            values[name] = _read(inner[name], value)
    return shape(**values)


# What a call asks of whoever makes it ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """A request. The answer is a Response, or the TransportError that there was instead."""

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    patience: float = 0.0  # seconds that the answer may take longer than others


@dataclass(frozen=True)
class _Open:
    """A request whose answer is a stream of events: the answer is a _Stream, or as with _Call if it is no 200."""

    call: _Call


@dataclass(frozen=True)
class _Stream:
    response: httpx2.Response
    events: Any


@dataclass(frozen=True)
class _Next:
    """The next event of a stream; None at its end, or a TransportError."""

    stream: _Stream


@dataclass(frozen=True)
class _Pause:
    seconds: float


@dataclass(frozen=True)
class _Item:
    """Something for whoever iterates."""

    value: Any


_Flow = Generator[Any, Any, Value]


# What each call does -----------------------------------------------------------------------------------------------


def _ask(call: _Call, retries: int) -> _Flow[httpx2.Response]:
    """Ask until there is an answer that another try would not better. Raises TaskmillError."""
    failures = 0
    while True:
        answer = yield call
        error = _error(answer)
        if error is None:
            return answer  # type: ignore[no-any-return]
        yield _Pause(_pause(error, failures, retries))
        failures += 1


def _error(answer: Any) -> TaskmillError | None:
    if isinstance(answer, httpx2.TransportError):
        error = UnreachableError(f"{type(answer).__name__}: {answer}")
        error.__cause__ = answer
        return error
    if not isinstance(answer, httpx2.Response) or answer.is_success:
        return None
    try:
        problem = answer.json()
    except ValueError:  # of something between us and the service
        problem = None
    known = problem if isinstance(problem, dict) else {"title": answer.reason_phrase}
    kind = NotFoundError if answer.status_code == httpx2.codes.NOT_FOUND else ApiError
    return kind(answer.status_code, known, {name.lower(): value for name, value in answer.headers.items()})


def _pause(error: TaskmillError, failures: int, retries: int) -> float:
    """Seconds until the next try: exponential backoff with full jitter, or what the service asks. Raises the error."""
    said = error.retry_after if isinstance(error, ApiError) else None
    is_passing = isinstance(error, UnreachableError) or (isinstance(error, ApiError) and error.status in _PASSING)
    if not is_passing or failures >= retries or (said or 0) > _LONGEST_RETRY_AFTER:
        raise error
    backoff = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**failures))  # noqa: S311 - spreads load
    return backoff if said is None else said + min(backoff, 1.0)


def _post(path: str, body: Any, key: str | None) -> _Call:
    """A POST that makes nothing twice, however often it is sent. Raises ValueError for a key that can't be sent."""
    if key is not None and not _KEY.fullmatch(key):
        raise ValueError("an idempotency_key has 1 to 250 printable ASCII characters, no quote and no backslash")
    content = body if isinstance(body, bytes) else _encode(body)
    headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{key or uuid4()}"'}
    return _Call("POST", path, body=content, headers=headers)


def _encode(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _new_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """As the service takes it. Raises ValueError for a time without a zone."""
    said = {name: value for name, value in task.items() if value is not None or name == "content"}
    if "run_at" in said:
        said["run_at"] = _time(said["run_at"])
    return said


def _time(time: datetime) -> str:
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone")
    return time.isoformat()


def _at(name: str, thing: Id) -> str:
    """The path of a task or a group. Raises ValueError for what can't be an id."""
    if str(thing) in {"", ".", ".."}:
        raise ValueError(f"{thing!r} is no id")
    return f"/{name}/{quote(str(thing), safe='')}"


def _one(shape: type[Shape], call: _Call, retries: int) -> _Flow[Shape]:
    answer = yield from _ask(call, retries)
    return _read(shape, answer.json())


def _retry(task: Id, retries: int) -> _Flow[Task]:
    """Where a try of ours was not answered, 409 may mean that it has got through."""
    is_unsure = False
    failures = 0
    while True:
        answer = yield _Call("PATCH", f"{_at('task', task)}/retry")
        error = _error(answer)
        if error is None:
            return _read(Task, answer.json())
        if is_unsure and isinstance(error, ApiError) and error.status == httpx2.codes.CONFLICT:
            return (yield from _one(Task, _Call("GET", _at("task", task)), retries))
        yield _Pause(_pause(error, failures, retries))
        is_unsure = True
        failures += 1


def _wait(shape: type[State], path: str, timeout: float | None, retries: int) -> _Flow[State]:
    """Long polls, one after the other."""
    end = None if timeout is None else time.monotonic() + timeout
    pause = 0.05
    while True:
        left = _LONG_POLL_SECONDS if end is None else max(0.0, end - time.monotonic())
        asked = int(min(_LONG_POLL_SECONDS, left))
        began = time.monotonic()
        state = yield from _one(shape, _Call("GET", path, [("wait", str(asked))], patience=asked), retries)
        if state.has_ended:
            return state
        if end is not None and time.monotonic() >= end:
            raise WaitTimeoutError(state)
        if time.monotonic() - began < asked or not asked:  # a service that is stopping does not wait
            yield _Pause(pause if end is None else min(pause, max(0.0, end - time.monotonic())))
            pause = min(2 * pause, 1.0)


def _events(shape: type[State], path: str, retries: int) -> _Flow[None]:
    """Streams, one after the other, each from where the one before broke off."""
    last, failures, reconnect = "", 0, 1.0
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        answer = yield _Open(_Call("GET", f"{path}/events", headers=headers, patience=_STREAM_SILENCE))
        if isinstance(answer, _Stream):
            failures = 0  # from here on, what ends the stream may be no more than a proxy that finds it idle
        while isinstance(answer, _Stream):
            event = yield _Next(answer)
            if not isinstance(event, httpx2.ServerSentEvent):
                answer = event or httpx2.ReadError("the stream ended early")
                break
            last = event.id or last
            if event.retry is not None:
                reconnect = event.retry / 1000
            if event.data:
                state = _read(shape, json.loads(event.data))
                yield _Item(state)
                if state.has_ended:
                    return
        error = _error(answer)
        if error is None:  # 204: it has ended, and the last event was seen
            return
        yield _Pause(max(reconnect, _pause(error, failures, retries)))
        failures += 1


def _batch(tasks: Iterable[NewTask], retries: int) -> _Flow[None]:
    """As many requests as it takes; the answers in the order of the tasks."""
    texts: list[bytes] = []
    size = 0
    for task in tasks:
        text = _encode(_new_task(task))
        if len(texts) == _BATCH_TASKS or (texts and size + len(text) > _BATCH_BYTES):
            yield from _batch_once(texts, retries)
            texts, size = [], 0
        texts.append(text)
        size += len(text) + 1
    if texts:
        yield from _batch_once(texts, retries)


def _batch_once(texts: list[bytes], retries: int) -> _Flow[None]:
    try:
        answer = yield from _ask(_post("/task/batch", b"[%b]" % b",".join(texts), None), retries)
    except ApiError as error:
        if error.status != _TOO_LARGE:
            raise
        if len(texts) == 1:
            yield _Item(error)
        else:  # the service is set to take less at once
            middle = len(texts) // 2
            yield from _batch_once(texts[:middle], retries)
            yield from _batch_once(texts[middle:], retries)
        return
    for item in answer.json()["items"]:
        wrong = item.get("error")
        yield _Item(_read(Task, item["task"]) if wrong is None else ApiError(int(wrong["status"]), wrong))


def _list(filters: "Filters", retries: int) -> _Flow[None]:
    """Page by page."""
    query = list(_query(filters))
    cursor: str | None = None
    while True:
        page = query if cursor is None else [*query, ("cursor", cursor)]
        answer = (yield from _ask(_Call("GET", "/task", page), retries)).json()
        for task in answer["tasks"]:
            yield _Item(_read(Task, task))
        cursor = answer["next"]
        if cursor is None:
            return


class Filters(TypedDict, total=False):
    """Which tasks: those that meet all of these. `content`: what top-level fields of the content are, as text."""

    status: Status | Sequence[Status]
    kind: str | Sequence[str]
    group: Id
    priority: Priority
    created_after: datetime
    created_before: datetime
    finished_after: datetime
    finished_before: datetime
    content: Mapping[str, str]


def _query(filters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "limit", str(_PAGE)
    for name, value in filters.items():
        if name == "content":
            yield from ((f"content.{key}", wanted) for key, wanted in value.items())
        elif isinstance(value, datetime):
            yield name, _time(value)
        elif isinstance(value, str | UUID):
            yield name, str(value)
        else:
            yield from ((name, one) for one in value)


def _new_group(
    tasks: Iterable[NewTask], on_failure: str, then: TaskOptions | NewTask | None, callback_url: str | None
) -> dict[str, Any]:
    body: dict[str, Any] = {"tasks": [_new_task(task) for task in tasks], "on_failure": on_failure}
    if then is not None:
        body["then"] = _new_task(then)
    if callback_url is not None:
        body["callback_url"] = callback_url
    return body


# The two who make calls --------------------------------------------------------------------------------------------


class _Settings:
    """What both have: where the service is, who asks, and how patiently."""

    def __init__(self, url: str, api_key: str | None = None, *, timeout: float = 10.0, retries: int = 6) -> None:
        self._timeout = timeout
        self._retries = retries
        self._client_options: dict[str, Any] = {
            "base_url": url,
            "headers": {"User-Agent": "taskmill-client"} | ({} if api_key is None else {"X-API-Key": api_key}),
            "timeout": timeout,
        }

    def _request(self, client: httpx2.Client | httpx2.AsyncClient, call: _Call) -> httpx2.Request:
        return client.build_request(
            call.method,
            call.path,
            params=list(call.params) or None,
            content=call.body,
            headers=dict(call.headers),
            timeout=httpx2.Timeout(self._timeout, read=self._timeout + call.patience),
        )


class Taskmill(_Settings):
    """Calls block. One may be used by several threads. Every method raises TaskmillError.

    `timeout`: seconds for each request; `retries`: how often one that fails for now is sent again.
    """

    def __init__(self, url: str, api_key: str | None = None, *, timeout: float = 10.0, retries: int = 6) -> None:
        super().__init__(url, api_key, timeout=timeout, retries=retries)
        self._client = httpx2.Client(**self._client_options)

    def create(self, content: Any, *, idempotency_key: str | None = None, **options: Unpack[TaskOptions]) -> Task:
        """Create a task. With an `idempotency_key` of yours, also another process that repeats this makes no second."""
        body = _new_task({"content": content, **options})
        return self._run(_one(Task, _post("/task", body, idempotency_key), self._retries))

    def get(self, task: Id) -> Task:
        """A task by its id."""
        return self._run(_one(Task, _Call("GET", _at("task", task)), self._retries))

    def wait(self, task: Id, timeout: float | None = None) -> Task:
        """The task once it has ended. Raises WaitTimeoutError after `timeout` seconds; None: never."""
        return self._run(_wait(Task, _at("task", task), timeout, self._retries))

    def events(self, task: Id) -> Iterator[Task]:
        """The task as it stands, then after each change, until it has ended; also over broken connections."""
        return self._iterate(_events(Task, _at("task", task), self._retries))

    def cancel(self, task: Id) -> Task:
        """Cancel a task. Raises ApiError 400 where it has already completed or failed."""
        return self._run(_one(Task, _Call("PATCH", f"{_at('task', task)}/cancel"), self._retries))

    def retry(self, task: Id) -> Task:
        """Have a failed task run again. Raises ApiError 409 where it is not failed."""
        return self._run(_retry(task, self._retries))

    def batch(self, tasks: Iterable[NewTask]) -> Iterator[Task | ApiError]:
        """Create any number of tasks. For each, in order: the task, or why it was refused, which concerns no other."""
        return self._iterate(_batch(tasks, self._retries))

    def list(self, **filters: Unpack[Filters]) -> Iterator[Task]:
        """The tasks that meet all filters, newest first, read page by page."""
        return self._iterate(_list(filters, self._retries))

    def create_group(
        self,
        tasks: Iterable[NewTask],
        *,
        on_failure: Literal["continue", "cancel_rest"] = "continue",
        then: TaskOptions | NewTask | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Group:
        """Create tasks that belong together, and `then` one more when all have ended."""
        body = _new_group(tasks, on_failure, then, callback_url)
        return self._run(_one(Group, _post("/group", body, idempotency_key), self._retries))

    def get_group(self, group: Id) -> Group:
        """A group by its id."""
        return self._run(_one(Group, _Call("GET", _at("group", group)), self._retries))

    def wait_group(self, group: Id, timeout: float | None = None) -> Group:
        """The group once all its members have ended. Raises WaitTimeoutError after `timeout` seconds; None: never."""
        return self._run(_wait(Group, _at("group", group), timeout, self._retries))

    def group_events(self, group: Id) -> Iterator[Group]:
        """The group as it stands, then as it changes, until it has ended; also over broken connections."""
        return self._iterate(_events(Group, _at("group", group), self._retries))

    def cancel_group(self, group: Id) -> Group:
        """Cancel the members that are pending or processing. Raises ApiError 400 where the group has ended."""
        return self._run(_one(Group, _Call("PATCH", f"{_at('group', group)}/cancel"), self._retries))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        """Close at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _run(self, flow: _Flow[Value]) -> Value:
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answer = self._do(step)

    def _iterate(self, flow: _Flow[None]) -> Iterator[Any]:
        answer: Any = None
        stream: _Stream | None = None
        try:
            while True:
                try:
                    step = flow.send(answer)
                except StopIteration:
                    return
                if isinstance(step, _Item):
                    answer = None
                    yield step.value
                    continue
                if isinstance(step, _Open) and stream is not None:
                    stream.response.close()
                answer = self._do(step)
                stream = answer if isinstance(answer, _Stream) else stream
        finally:
            if stream is not None:
                stream.response.close()

    def _do(self, step: Any) -> Any:
        try:
            match step:
                case _Call():
                    return self._client.send(self._request(self._client, step))
                case _Open(call):
                    response = self._client.send(self._request(self._client, call), stream=True)
                    if response.status_code == httpx2.codes.OK:
                        return _Stream(response, iter(httpx2.EventSource(response, max_event_size=None)))
                    response.read()
                    return response
                case _Next(stream):
                    return next(stream.events, None)
                case _Pause(seconds):
                    time.sleep(seconds)
        except httpx2.TransportError as error:
            return error
        return None


class AsyncTaskmill(_Settings):
    """The same for asyncio. Every method raises TaskmillError.

    `timeout`: seconds for each request; `retries`: how often one that fails for now is sent again.
    """

    def __init__(self, url: str, api_key: str | None = None, *, timeout: float = 10.0, retries: int = 6) -> None:
        super().__init__(url, api_key, timeout=timeout, retries=retries)
        self._client = httpx2.AsyncClient(**self._client_options)

    async def create(self, content: Any, *, idempotency_key: str | None = None, **options: Unpack[TaskOptions]) -> Task:
        """Create a task. With an `idempotency_key` of yours, also another process that repeats this makes no second."""
        body = _new_task({"content": content, **options})
        return await self._run(_one(Task, _post("/task", body, idempotency_key), self._retries))

    async def get(self, task: Id) -> Task:
        """A task by its id."""
        return await self._run(_one(Task, _Call("GET", _at("task", task)), self._retries))

    async def wait(self, task: Id, timeout: float | None = None) -> Task:  # noqa: ASYNC109 - as in Taskmill
        """The task once it has ended. Raises WaitTimeoutError after `timeout` seconds; None: never."""
        return await self._run(_wait(Task, _at("task", task), timeout, self._retries))

    def events(self, task: Id) -> AsyncIterator[Task]:
        """The task as it stands, then after each change, until it has ended; also over broken connections."""
        return self._iterate(_events(Task, _at("task", task), self._retries))

    async def cancel(self, task: Id) -> Task:
        """Cancel a task. Raises ApiError 400 where it has already completed or failed."""
        return await self._run(_one(Task, _Call("PATCH", f"{_at('task', task)}/cancel"), self._retries))

    async def retry(self, task: Id) -> Task:
        """Have a failed task run again. Raises ApiError 409 where it is not failed."""
        return await self._run(_retry(task, self._retries))

    def batch(self, tasks: Iterable[NewTask]) -> AsyncIterator[Task | ApiError]:
        """Create any number of tasks. For each, in order: the task, or why it was refused, which concerns no other."""
        return self._iterate(_batch(tasks, self._retries))

    def list(self, **filters: Unpack[Filters]) -> AsyncIterator[Task]:
        """The tasks that meet all filters, newest first, read page by page."""
        return self._iterate(_list(filters, self._retries))

    async def create_group(
        self,
        tasks: Iterable[NewTask],
        *,
        on_failure: Literal["continue", "cancel_rest"] = "continue",
        then: TaskOptions | NewTask | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Group:
        """Create tasks that belong together, and `then` one more when all have ended."""
        body = _new_group(tasks, on_failure, then, callback_url)
        return await self._run(_one(Group, _post("/group", body, idempotency_key), self._retries))

    async def get_group(self, group: Id) -> Group:
        """A group by its id."""
        return await self._run(_one(Group, _Call("GET", _at("group", group)), self._retries))

    async def wait_group(self, group: Id, timeout: float | None = None) -> Group:  # noqa: ASYNC109 - as in Taskmill
        """The group once all its members have ended. Raises WaitTimeoutError after `timeout` seconds; None: never."""
        return await self._run(_wait(Group, _at("group", group), timeout, self._retries))

    def group_events(self, group: Id) -> AsyncIterator[Group]:
        """The group as it stands, then as it changes, until it has ended; also over broken connections."""
        return self._iterate(_events(Group, _at("group", group), self._retries))

    async def cancel_group(self, group: Id) -> Group:
        """Cancel the members that are pending or processing. Raises ApiError 400 where the group has ended."""
        return await self._run(_one(Group, _Call("PATCH", f"{_at('group', group)}/cancel"), self._retries))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        """Close at the end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def _run(self, flow: _Flow[Value]) -> Value:
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answer = await self._do(step)

    async def _iterate(self, flow: _Flow[None]) -> AsyncIterator[Any]:
        answer: Any = None
        stream: _Stream | None = None
        try:
            while True:
                try:
                    step = flow.send(answer)
                except StopIteration:
                    return
                if isinstance(step, _Item):
                    answer = None
                    yield step.value
                    continue
                if isinstance(step, _Open) and stream is not None:
                    await stream.response.aclose()
                answer = await self._do(step)
                stream = answer if isinstance(answer, _Stream) else stream
        finally:
            if stream is not None:
                await stream.response.aclose()

    async def _do(self, step: Any) -> Any:
        try:
            match step:
                case _Call():
                    return await self._client.send(self._request(self._client, step))
                case _Open(call):
                    response = await self._client.send(self._request(self._client, call), stream=True)
                    if response.status_code == httpx2.codes.OK:
                        return _Stream(response, aiter(httpx2.EventSource(response, max_event_size=None)))
                    await response.aread()
                    return response
                case _Next(stream):
                    return await anext(stream.events, None)
                case _Pause(seconds):
                    await asyncio.sleep(seconds)
        except httpx2.TransportError as error:
            return error
        return None
