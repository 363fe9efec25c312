"""What a running handler knows and may use."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar
from uuid import UUID

from aiohttp import ClientSession
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.config import load
from app.core.errors import LostClaimError as LostClaim
from app.handler_api.bulk import BulkTools
from app.handler_api.spawn import Child, OnFailure

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

__all__ = ["Child", "LostClaim", "Options", "Progress", "TaskContext"]


class Options(BaseSettings):
    """Settings of one kind, read from the environment when a process starts. Subclass it with fields of your own."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    @classmethod
    def load(cls) -> Self:
        """These options from the environment. Raises SettingsError."""
        return load(cls)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: `done` of `total` (None: not known), in units of the handler's choice."""

    done: float
    total: float | None = None
    message: str | None = None


class Tools(Protocol):
    """What TaskContext asks of whoever runs the handler; its methods say what these do."""

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]": ...
    @property
    def http(self) -> ClientSession: ...
    @property
    def bulk(self) -> BulkTools: ...
    def progress(self, progress: Progress) -> None: ...
    def checkpoint(self, progress: Progress | None, cursor: Any) -> AbstractAsyncContextManager["Connection"]: ...
    async def spawn(self, key: str, children: Sequence[Child]) -> list[UUID]: ...
    async def spawn_group(
        self, key: str, children: Sequence[Child], on_failure: OnFailure, then: Child | None
    ) -> UUID: ...


OptionsT_co = TypeVar("OptionsT_co", bound=Options, covariant=True)


@dataclass(slots=True)
class TaskContext(Generic[OptionsT_co]):
    """One run of one task.

    `id` stays the same over all runs of a task, so it serves as an idempotency key; `attempt` counts them from 1.
    `deadline`: when this run is stopped as `timeout`, by this host's clock. `cursor`: what the last checkpoint of an
    earlier run left, else None. `traceparent`: as the client sent it (W3C).
    """

    id: UUID
    attempt: int
    options: OptionsT_co
    tools: Tools
    is_stopping: Callable[[], bool]
    deadline: datetime | None = None
    cursor: Any = None
    traceparent: str | None = None

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger whose lines carry the task's id and attempt."""
        return self.tools.log

    @property
    def is_canceled(self) -> bool:
        """Whether this run was told to stop: what it does from now on counts for nothing."""
        return self.is_stopping()

    @property
    def seconds_left(self) -> float | None:
        """Until the deadline; None where there is none."""
        return None if self.deadline is None else (self.deadline - datetime.now(UTC)).total_seconds()

    @property
    def http(self) -> ClientSession:
        """The process's one HTTP client. It refuses private addresses but those that HTTP_ALLOW_PRIVATE names."""
        return self.tools.http

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far this run is. Costs next to nothing: what is said within a quarter of a second is one write.

        Raises TypeError for what is no number, and ValueError for NaN and infinities.
        """
        self.tools.progress(Progress(done, total, message))

    def checkpoint(
        self, *, progress: Progress | None = None, cursor: Any = None
    ) -> AbstractAsyncContextManager["Connection"]:
        """`async with task.checkpoint(progress=Progress(300, 10_000), cursor=300) as db`: write through `db`, once.

        `db` is an asyncpg connection inside a transaction of its own. What is written, the progress and the cursor
        (any JSON value) commit together, and only while this run still holds the task. Raises LostClaim otherwise (let
        it pass), and DatabaseUnavailableError, after which the next attempt begins at the last cursor. Keep it short.
        """
        return self.tools.checkpoint(progress, cursor)

    async def spawn(self, key: str, children: Sequence[Child]) -> list[UUID]:
        """Create up to 10,000 tasks, all or none; their ids. They are kept also where this task fails later on.

        The ids follow from this task's, the `key` and each child's place: by the same key again, also in another
        attempt, the children that there are stay as they are. Raises LostClaim (let it pass), InvalidPayloadError and
        UnknownKindError; then none is created. After DatabaseUnavailableError the next attempt goes on.
        """
        return await self.tools.spawn(key, children)

    async def spawn_group(
        self, key: str, children: Sequence[Child], *, on_failure: OnFailure = "continue", then: Child | None = None
    ) -> UUID:
        """Create a group of tasks, as `POST /group` does, by a key as in `spawn`; the group's id. Raises as `spawn`.

        End after it, and let `then` carry on when all have ended: its content, an object, gets `group`, a GroupResult.
        """
        return await self.tools.spawn_group(key, children, on_failure, then)
