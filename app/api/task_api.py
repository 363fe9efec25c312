"""The calls of the contract: create, get and cancel a task."""

from collections.abc import Sequence
from http import HTTPStatus
from uuid import UUID

from starlette.types import Receive, Scope
from uuid_utils.compat import uuid7

from app.api.body import parse, read_body
from app.api.errors import ProblemError
from app.api.new_task_schemas import NewTaskBody
from app.api.route import id_in_path
from app.api.schemas import to_json
from app.api.task_schemas import TaskRenderer
from app.api.traceparent import traceparent
from app.core.config import Settings
from app.core.events import Emit
from app.core.task import NewTask, Task, TaskStatus
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.cancel import Canceler
from app.queue.create import Creator
from app.queue.follow_up import FollowUp
from app.queue.read import read_tasks
from app.queue.retry import Reopener
from app.queue.wakeup import Wakeup
from app.utils.batcher import Batcher

_LARGEST_BATCH = 500
_HEAVIEST_BATCH = 8 * 2**20  # characters of content in one INSERT; each row costs about _ROW of them besides
_ROW = 256
NOT_FOUND = "There is no task with this id."


class TaskApi:
    """Answers for tasks. What arrives while a statement is under way shares the next one."""

    def __init__(
        self, settings: Settings, catalog: Catalog, database: Database, wakeup: Wakeup, follow_up: FollowUp, emit: Emit
    ) -> None:
        self._body_limit = settings.body_limit_bytes
        self._default_kind = settings.default_kind
        self._catalog = catalog
        self._render = TaskRenderer(catalog)
        self._database = database
        self._reopener = Reopener(database, follow_up, emit)
        self._creates: Batcher[NewTask, Task] = Batcher(
            Creator(database, wakeup, follow_up, emit).create,
            _HEAVIEST_BATCH,
            weigh=lambda task: len(task.content) + _ROW,
        )
        self._reads: Batcher[UUID, Task | None] = Batcher(self._read, _LARGEST_BATCH)
        self._cancels: Batcher[UUID, Task | None] = Batcher(
            Canceler(database, wakeup, follow_up, emit).cancel, _LARGEST_BATCH
        )

    async def create(self, scope: Scope, receive: Receive) -> bytes:
        """Keep a task and put it in the queue. It starts as soon as a consumer is free."""
        body = parse(NewTaskBody, await read_body(scope, receive, self._body_limit))
        kind = self._default_kind if body.kind is None else body.kind
        content = to_json(body.content)
        self._catalog.check(kind, content)
        task = body.to_task(uuid7(), kind, content, traceparent(scope))
        return self._render(await self._creates.submit(task))

    async def get(self, scope: Scope, _: Receive) -> bytes:
        """A task by its id."""
        task = await self._reads.submit(_task_id(scope))
        if task is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        return self._render(task)

    async def cancel(self, scope: Scope, _: Receive) -> bytes:
        """Cancel a task that is pending or processing. Its handler is stopped; canceling again changes nothing."""
        task = await self._cancels.submit(_task_id(scope))
        if task is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        if task.status != TaskStatus.CANCELED:
            raise ProblemError(HTTPStatus.BAD_REQUEST, f"The task is already {task.status}; it can't be canceled.")
        return self._render(task)

    async def retry(self, scope: Scope, _: Receive) -> bytes:
        """Have a failed task run again. All its attempts are there again, and work behind checkpoints goes on."""
        task = await self._reopener.reopen(_task_id(scope))
        if task is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        return self._render(task)

    async def drain(self) -> None:
        """Wait for the statements that are under way."""
        for batcher in (self._creates, self._reads, self._cancels):
            await batcher.drain()

    async def _read(self, ids: list[UUID]) -> Sequence[Task | None]:
        tasks = await read_tasks(self._database, ids)
        return [tasks.get(task_id) for task_id in ids]


def _task_id(scope: Scope) -> UUID:
    task_id = id_in_path(scope, "task_id")
    if task_id is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
    return task_id
