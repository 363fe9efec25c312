"""The calls of the contract: create, get and cancel a task."""

import asyncio
import time
from datetime import timedelta
from http import HTTPStatus
from uuid import UUID

from starlette.types import Receive, Scope
from uuid_utils.compat import uuid7

from app.api.body import parse, read_body
from app.api.callback_url import CallbackUrls
from app.api.caller import caller
from app.api.errors import RETRY_AFTER_SECONDS, ProblemError
from app.api.idempotency_key import REPLAYED, idempotency_key
from app.api.live import Live
from app.api.new_task_schemas import NewTaskBody
from app.api.route import Reply
from app.api.schemas import to_json
from app.api.services import Services
from app.api.stream import Stream
from app.api.task_reader import NOT_FOUND
from app.api.task_schemas import TaskRenderer
from app.api.traceparent import traceparent
from app.api.watch import State, Subject
from app.core.task import NewTask, Task, TaskStatus
from app.queue.cancel import Canceler
from app.queue.create_keyed import KeyedCreator
from app.queue.retry import Reopener
from app.utils.batcher import Batcher

_ENDED = frozenset((TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELED))
_LARGEST_BATCH = 64  # as in task_reader.py
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 0.2
_WAIT_SECONDS = 1.5
_BEING_CHANGED = (
    "The task is being changed by its consumer, which has not come to an end; it is not canceled. Try again."
)
_AGAIN = {"Retry-After": str(RETRY_AFTER_SECONDS)}
_HEAVIEST_BATCH = 8 * 2**20  # characters of content in one INSERT; each row costs about _ROW of them besides
_ROW = 256


class TaskApi:
    """Answers for tasks. What arrives while a statement is under way shares the next one."""

    def __init__(self, services: Services) -> None:
        self._body_limit = services.settings.body_limit_bytes
        self._default_kind = services.settings.default_kind
        self._catalog = services.catalog
        self._callback_urls = CallbackUrls(services.settings, services.catalog)
        self._render = TaskRenderer(services.catalog)
        self._reader = services.reader
        self._backpressure = services.backpressure
        self._live = Live(Subject("task", self._reader.find, self._reader.read, self._state), services.hub)
        self._reopener = Reopener(services.database, services.follow_up, services.emit)
        kept = timedelta(hours=services.settings.idempotency_hours)
        creator = KeyedCreator(services.database, services.wakeup, services.follow_up, services.emit, kept)
        self._creates: Batcher[NewTask, Task] = Batcher(
            creator.create,
            _HEAVIEST_BATCH,
            weigh=lambda task: len(task.content) + _ROW,
        )
        canceler = Canceler(services.database, services.wakeup, services.follow_up, services.emit)
        self._cancels: Batcher[UUID, Task | None] = Batcher(canceler.cancel, _LARGEST_BATCH)

    async def create(self, scope: Scope, receive: Receive) -> bytes | Reply:
        """Keep a task and put it in the queue. It starts as soon as a consumer is free."""
        data = await read_body(scope, receive, self._body_limit)
        key = idempotency_key(scope, data)
        body = parse(NewTaskBody, data)
        kind = self._default_kind if body.kind is None else body.kind
        content = to_json(body.content)
        self._catalog.check(kind, content)
        self._callback_urls.check(body.callback_url)
        task = body.to_task(uuid7(), kind, content, traceparent(scope), caller(scope).tenant)
        task.idempotency = key
        if not self._backpressure.is_on:
            return await self._create(task)
        async with self._backpressure.room([kind], key):
            return await self._create(task)

    async def _create(self, task: NewTask) -> bytes | Reply:
        created = await self._creates.submit(task)
        if created.id != task.id:
            return Reply(HTTPStatus.CREATED, self._render(created), REPLAYED)
        return self._render(created)

    async def get(self, scope: Scope, receive: Receive) -> Reply:
        """A task by its id: at once, or, with `wait`, as soon as it has ended.

        With `wait` and If-None-Match it answers as soon as the task is another than the one with that ETag.
        """
        return await self._live.get(scope, receive)

    async def events(self, scope: Scope, receive: Receive) -> Stream | Reply:
        """A task as it stands, and then each time that it has changed, until it has ended.

        Server-sent events: the data of each is the whole task, its id the task's version. After a break,
        Last-Event-ID leaves out what is known already; changes that follow one another quickly may come as one.
        """
        return await self._live.events(scope, receive)

    async def cancel(self, scope: Scope, _: Receive) -> bytes:
        """Cancel a task that is pending or processing. Its handler is stopped; canceling again changes nothing."""
        task = await self._cancel(await self._reader.visible_id(scope))
        if task is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        if task.status not in _ENDED:
            raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, _BEING_CHANGED, headers=_AGAIN)
        if task.status != TaskStatus.CANCELED:
            raise ProblemError(HTTPStatus.BAD_REQUEST, f"The task is already {task.status}; it can't be canceled.")
        return self._render(task)

    async def _cancel(self, task_id: UUID) -> Task | None:
        """The task as it then stands: still live where somebody has been changing it for as long as one may wait.

        No connection is held meanwhile.
        """
        pause, give_up = _FIRST_PAUSE_SECONDS, time.monotonic() + _WAIT_SECONDS
        while (task := await self._cancels.submit(task_id)) and task.status not in _ENDED:
            if time.monotonic() > give_up:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return task

    async def retry(self, scope: Scope, _: Receive) -> bytes:
        """Have a failed task run again. All its attempts are there again, and work behind checkpoints goes on."""
        task = await self._reopener.reopen(await self._reader.visible_id(scope))
        if task is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        return self._render(task)

    def _state(self, task: Task) -> State:
        return State(task.version, task.status in _ENDED, self._render(task))

    async def drain(self) -> None:
        """Wait for the statements that are under way."""
        for batcher in (self._creates, self._cancels):
            await batcher.drain()
