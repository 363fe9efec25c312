"""What a handler can do besides its own work, as it is handed to it. The same in a consumer and in its children."""

import logging
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aiohttp import ClientSession
from pydantic_core import from_json

from app.consumer.bulk_tools import BulkActions
from app.consumer.progress import ProgressWriter, as_json, changed_by
from app.consumer.spawning import new_group, new_tasks
from app.core.config import Settings
from app.core.events import Emit
from app.core.task import Claim
from app.db.engine import Database, work_database
from app.handler_api.context import Options, Progress, TaskContext
from app.handler_api.http import open_client
from app.handler_api.spawn import Child, OnFailure
from app.handlers import Catalog
from app.queue.follow_up import FollowUp
from app.queue.progress import checkpoint
from app.queue.spawn import Spawner
from app.queue.wakeup import Wakeup
from app.utils.strict_json import strict_json

if TYPE_CHECKING:
    import asyncpg


class Toolbox:
    """What all runs of a process share. `database` is the queue's own pool; handlers' work has another."""

    def __init__(self, settings: Settings, catalog: Catalog, database: Database, wakeup: Wakeup, emit: Emit) -> None:
        self._settings = settings
        self.work = work_database(settings)
        self.check = catalog.check
        self.spawner = Spawner(database, wakeup, emit)
        self.wakeup = wakeup
        self.progress = ProgressWriter(database, wakeup)
        self._follow_up = FollowUp(database, wakeup, emit)
        self.bulk = BulkActions(database, wakeup, self._follow_up, catalog.internal_kinds, emit)
        self._http: ClientSession | None = None

    @property
    def http(self) -> ClientSession:
        """Opened when the first handler asks for it."""
        if self._http is None:
            self._http = open_client(self._settings.http_allow_private)
        return self._http

    async def drain(self) -> None:
        """Wait for what follows the work of handlers: statements, and messages to Redis."""
        await self._follow_up.drain()

    async def close(self) -> None:
        """Close what was opened."""
        if self._http is not None:
            await self._http.close()
        await self.work.close()

    def context(
        self, claim: Claim, options: Options, is_stopping: Callable[[], bool], deadline: datetime | None
    ) -> TaskContext[Any]:
        """What a run gets to know and to use."""
        return TaskContext(
            id=claim.id,
            attempt=claim.attempt,
            options=options,
            tools=_RunTools(self, claim),
            is_stopping=is_stopping,
            deadline=deadline,
            cursor=None if claim.cursor is None else from_json(claim.cursor),
            traceparent=claim.traceparent,
        )


def _readable(cursor: Any) -> str:
    """Its JSON text. Raises ValueError where the next run could not read it: it may be nested too deeply for that."""
    text = strict_json(cursor)
    from_json(text)
    return text


class _TaskLog(logging.LoggerAdapter[logging.Logger]):
    """Adds the task's id to what the handler says."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Both the line's own fields and the task's."""
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


@dataclass(slots=True)
class _RunTools:
    """The tools of one run."""

    box: Toolbox
    claim: Claim

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        logger = logging.getLogger(f"taskmill.handler.{self.claim.kind}")
        return _TaskLog(logger, {"task_id": str(self.claim.id), "attempt": self.claim.attempt})

    @property
    def http(self) -> ClientSession:
        return self.box.http

    @property
    def bulk(self) -> BulkActions:
        return self.box.bulk

    def progress(self, progress: Progress) -> None:
        self.box.progress.note(self.claim, progress)

    def checkpoint(
        self, progress: Progress | None, cursor: Any
    ) -> AbstractAsyncContextManager["asyncpg.Connection[asyncpg.Record]"]:
        return self._checkpoint(progress, cursor)

    @asynccontextmanager
    async def _checkpoint(
        self, progress: Progress | None, cursor: Any
    ) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        marks = None if progress is None else as_json(progress), None if cursor is None else _readable(cursor)
        async with checkpoint(self.box.work, self.claim, *marks) as connection:
            yield connection
            if progress is not None:
                await self.box.progress.forget(self.claim)  # it would put the clock back
        self.box.wakeup.announce_changed(changed_by(self.claim))

    async def spawn(self, key: str, children: Sequence[Child]) -> list[UUID]:
        tasks = await new_tasks(self.claim, key, children, self.box.check)
        if tasks:
            await self.box.spawner.spawn(self.claim, tasks)
        return [task.id for task in tasks]

    async def spawn_group(self, key: str, children: Sequence[Child], on_failure: OnFailure, then: Child | None) -> UUID:
        group = await new_group(self.claim, key, children, on_failure, then, self.box.check)
        await self.box.spawner.spawn_group(self.claim, group)
        return group.id
