"""Tasks by the id in a path, as far as the caller sees them."""

from asyncio import Future
from collections.abc import Sequence
from http import HTTPStatus
from uuid import UUID

from starlette.types import Scope

from app.api.caller import caller
from app.api.errors import ProblemError
from app.api.route import id_in_path
from app.core.caller import EVERYBODY
from app.core.task import Task
from app.db.engine import Database
from app.queue.read import read_tasks
from app.utils.batcher import Batcher

_LARGEST_BATCH = 64  # each may bring a content and a result of 1 MiB, and all have to come in time
NOT_FOUND = "There is no task with this id."


class TaskReader:
    """Reads that arrive while a statement is under way share the next one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads: Batcher[UUID, Task | None] = Batcher(self._read, _LARGEST_BATCH)

    async def find(self, scope: Scope) -> Task:
        """The task whose id is in the path. Raises ProblemError: 404 also for what the caller may not see."""
        task = await self._reads.submit(_id(scope))
        if task is None or not caller(scope).sees(task.tenant):
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        return task

    def read(self, task_id: UUID) -> "Future[Task | None]":
        """The task with this id, whoever may see it."""
        return self._reads.submit(task_id)

    async def visible_id(self, scope: Scope) -> UUID:
        """The id in the path, for a call that finds out by itself whether there is such a task. Raises as find."""
        if caller(scope) is EVERYBODY:
            return _id(scope)
        return (await self.find(scope)).id  # a task stays with its tenant, so what was seen stays visible

    async def drain(self) -> None:
        """Wait for the statements that are under way."""
        await self._reads.drain()

    async def _read(self, ids: list[UUID]) -> Sequence[Task | None]:
        tasks = await read_tasks(self._database, ids)
        return [tasks.get(task_id) for task_id in ids]


def _id(scope: Scope) -> UUID:
    task_id = id_in_path(scope, "task_id")
    if task_id is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
    return task_id
