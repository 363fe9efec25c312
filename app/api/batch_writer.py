"""Creates the good items of a batch, and words what became of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import asyncpg
import uuid_utils
from starlette.types import Scope
from uuid_utils.compat import uuid7

from app.api.batch_items import CheckedItems
from app.api.batch_schemas import render_error, render_item
from app.api.caller import caller
from app.api.errors import ProblemError, from_key_reused, from_rejected_row
from app.api.services import Services
from app.api.task_schemas import TaskRenderer
from app.api.traceparent import traceparent
from app.core.errors import DatabaseBusyError, KeyReusedError, RejectedRowError
from app.core.idempotency import IdempotencyKey
from app.core.task import NewTask, Task
from app.queue.create import pending
from app.queue.create_batch import BatchCreator, BatchKey, PlainTasks
from app.queue.create_keyed import KeyedCreator

_NOBODY = UUID(int=0)
_REFUSED_BEFORE = ProblemError(
    HTTPStatus.UNPROCESSABLE_ENTITY, "It was refused when the Idempotency-Key was first sent."
)

ResultT = TypeVar("ResultT")


def never() -> bool:
    """For who is to be told at once that all connections are in use."""
    return False


class Written(NamedTuple):
    """JSON texts of BatchItems, by their places: those with tasks, and those that came to nothing after all."""

    tasks: dict[int, str]
    errors: dict[int, str]
    is_replayed: bool = False


class BatchWriter:
    """Writes batches, as many at a time as there are connections, in tasks of its own that outlive the requests."""

    def __init__(self, services: Services) -> None:
        kept = timedelta(hours=services.settings.idempotency_hours)
        parts = services.heavy, services.wakeup, services.follow_up, services.emit, kept
        self._creator = BatchCreator(*parts)
        self._one_by_one = KeyedCreator(*parts)
        self._render = TaskRenderer(services.catalog)
        self._running: set[asyncio.Task[Any]] = set()

    async def write(
        self,
        scope: Scope,
        found: CheckedItems,
        first: int = 0,
        key: IdempotencyKey | None = None,
        waits_on: Callable[[], bool] = never,
    ) -> Written:
        """Create all that is good, in one transaction.

        `first`: the index of place 0; `key`: one for all of it; `waits_on`: whether to wait again where all connections
        have been in use for as long as one may wait.

        Raises DatabaseUnavailableError and KeyReusedError; RejectedRowError if there is a key.
        """
        if not found.contents:
            return Written({}, {})
        places = sorted(found.contents)
        tasks = _full(scope, found, places) if found.bodies else _plain(scope, found, places)
        ids: Sequence[str | None] = tasks.ids if isinstance(tasks, PlainTasks) else [str(task.id) for task in tasks]
        batch_key = None
        if key is not None:
            own = dict(zip(places, ids, strict=True))
            batch_key = BatchKey(key, [own.get(place) for place in range(len(found.contents) + len(found.problems))])
        try:
            batch = await self._owned(lambda: self._creator.create(tasks, batch_key), waits_on)
        except asyncpg.DataError as error:  # class 22: some value can't be stored, and no check of ours knew
            if key is not None:
                raise RejectedRowError(f"PostgreSQL refuses the content of an item ({error.sqlstate}).") from error
            return await self._write_each(_full(scope, found, places), places, first, waits_on)
        if batch.ids is not None:
            ids = [batch.ids[place] for place in places]
        by_place = dict(zip(places, ids, strict=True))
        is_replayed = batch.ids is not None
        items = self._word(tasks, found, by_place, batch.created_at, first, is_replayed=is_replayed)
        errors = {
            place: render_error(first + place, _REFUSED_BEFORE)
            for place, task_id in by_place.items()
            if task_id is None
        }
        return Written(items, errors, is_replayed)

    async def write_lines(
        self,
        scope: Scope,
        found: CheckedItems,
        first: int,
        keys: Mapping[int, IdempotencyKey],
        waits_on: Callable[[], bool],
    ) -> Written:
        """Create all that is good, in one transaction, each by its own key. Raises DatabaseUnavailableError."""
        places = sorted(found.contents)
        tasks = _full(scope, found, places)
        for place, task in zip(places, tasks, strict=True):
            task.idempotency = keys[place]
        return await self._write_each(tasks, places, first, waits_on) if tasks else Written({}, {})

    async def drain(self) -> None:
        """Wait for the statements that are under way."""
        if self._running:
            await asyncio.wait(self._running)

    async def _write_each(
        self, tasks: Sequence[NewTask], places: Sequence[int], first: int, waits_on: Callable[[], bool]
    ) -> Written:
        items: dict[int, str] = {}
        errors: dict[int, str] = {}
        results = await self._owned(lambda: self._one_by_one.create(tasks), waits_on)
        for place, new, result in zip(places, tasks, results, strict=True):
            index = first + place
            match result:
                case Task():
                    items[place] = render_item(index, self._render(result).decode(), is_replayed=result.id != new.id)
                case KeyReusedError():
                    errors[place] = render_error(index, from_key_reused(result))
                case RejectedRowError():
                    errors[place] = render_error(index, from_rejected_row(result))
                case _:
                    raise result
        return Written(items, errors)

    def _word(
        self,
        tasks: PlainTasks | Sequence[NewTask],
        found: CheckedItems,
        ids: Mapping[int, str | None],
        created_at: datetime,
        first: int,
        *,
        is_replayed: bool,
    ) -> dict[int, str]:
        items = {}
        if isinstance(tasks, PlainTasks):
            frames = {kind: self._frame(kind, tasks, created_at) for kind in set(tasks.kinds)}
            for place, task_id in ids.items():
                if task_id is None:
                    continue
                head, middle, tail = frames[found.kinds[place]]
                items[place] = (
                    f'{{"index":{first + place},"task":{head}{task_id}{middle}{found.contents[place]}{tail}}}'
                )
        else:
            for (place, task_id), new in zip(ids.items(), tasks, strict=True):
                if task_id is not None:
                    own = replace(new, id=UUID(task_id)) if is_replayed else new
                    items[place] = render_item(first + place, self._render(pending(own, created_at)).decode())
        return items

    def _frame(self, kind: str, tasks: PlainTasks, created_at: datetime) -> tuple[str, str, str]:
        """What stands before the id of a task, between it and the content, and after that."""
        task = pending(NewTask(_NOBODY, kind, "", tenant=tasks.tenant), created_at)
        head, _, rest = self._render(task).decode().partition(str(_NOBODY))
        middle, name, tail = rest.partition('"content":')
        return head, middle + name, tail

    async def _owned(self, write: Callable[[], Awaitable[ResultT]], waits_on: Callable[[], bool]) -> ResultT:
        task = asyncio.create_task(_write_once_free(write, waits_on))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)


async def _write_once_free(write: Callable[[], Awaitable[ResultT]], waits_on: Callable[[], bool]) -> ResultT:
    """What `write` returns; it finds what it wrote before, as the ids of its tasks stay the same."""
    while True:
        try:
            return await write()
        except DatabaseBusyError:
            if not waits_on():
                raise


def _plain(scope: Scope, found: CheckedItems, places: Sequence[int]) -> PlainTasks:
    return PlainTasks(
        [str(uuid_utils.uuid7()) for _ in places],
        [found.kinds[place] for place in places],
        [found.contents[place] for place in places],
        traceparent(scope),
        caller(scope).tenant,
    )


def _full(scope: Scope, found: CheckedItems, places: Sequence[int]) -> list[NewTask]:
    trace, tenant = traceparent(scope), caller(scope).tenant
    tasks = []
    for place in places:
        kind, content, body = found.kinds[place], found.contents[place], found.bodies.get(place)
        if body is None:
            tasks.append(NewTask(uuid7(), kind, content, traceparent=trace, tenant=tenant))
        else:
            tasks.append(body.to_task(uuid7(), kind, content, trace, tenant))
    return tasks
