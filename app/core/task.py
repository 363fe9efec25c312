"""What a task is: its states, and the shapes in which it travels."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import NamedTuple
from uuid import UUID

from app.core.idempotency import IdempotencyKey


class TaskStatus(StrEnum):
    """The states of a task.

    pending ──claim──▶ processing ──▶ completed | failed ──retry (explicit)──▶ pending
       │ ◀─retry, snooze, release, recover─┘ │
       └───────────────cancel────────────────┴──▶ canceled
    """

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


# Nothing happens to these any more, unless somebody retries or deletes them.
ENDED = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELED)


class Priority(IntEnum):
    """Which of the tasks that are due is started first; as it stands in the table."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class ErrorCode(StrEnum):
    """Why an attempt failed, for programs. The set is closed; docs/handlers.md says what each means."""

    INVALID_PAYLOAD = "invalid_payload"
    HANDLER_ERROR = "handler_error"
    TIMEOUT = "timeout"
    CONSUMER_LOST = "consumer_lost"
    DEPENDENCY_UNAVAILABLE = "dependency_unavailable"
    CANCELED_GROUP = "canceled_group"


# Not frozen, as other values are: there is one of these for each request and each run, and a frozen one of 19 fields
# takes three times as long to make.
@dataclass(slots=True)
class NewTask:
    """A task that is asked for. `content` is JSON text, already checked.

    It is due at `run_at`, else `delay` after its creation by PostgreSQL's clock. None in `max_attempts` and
    `timeout_seconds` leaves it to the kind. Of the tasks with one `concurrency_key`, `concurrency_limit` run at once.
    Only the keys of its `tenant` see the task. `callback_url` is told when it has ended. Of all with one
    `idempotency` key one is created.
    """

    id: UUID
    kind: str
    content: str
    priority: Priority = Priority.NORMAL
    run_at: datetime | None = None
    delay: timedelta | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    concurrency_key: str | None = None
    concurrency_limit: int = 1
    group_id: UUID | None = None
    traceparent: str | None = None
    tenant: str | None = None
    callback_url: str | None = None
    idempotency: IdempotencyKey | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing is said but its kind and content."""
        return (
            self.priority is Priority.NORMAL
            and self.run_at is None
            and self.delay is None
            and self.max_attempts is None
            and self.timeout_seconds is None
            and self.concurrency_key is None
            and self.group_id is None
            and self.traceparent is None
            and self.tenant is None
            and self.callback_url is None
        )


@dataclass(slots=True)
class Task:
    """A task as its row stands, in the order of queue/read.py's columns.

    `content`, `progress`, `result`, `error` and `history` are JSON text; times are UTC. Where `max_attempts` or
    `timeout_seconds` is None, its kind's counts.
    """

    id: UUID
    kind: str
    content: str
    status: str
    priority: int
    attempt: int
    max_attempts: int | None
    timeout_seconds: float | None
    concurrency_key: str | None
    group_id: UUID | None
    progress: str | None
    result: str | None
    error: str | None
    history: str | None
    run_at: datetime
    created_at: datetime
    updated_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    version: int  # counts the changes, from 1
    tenant: str | None
    callback_url: str | None


class Hint(NamedTuple):
    """What Redis is told of a pending task: which consumers can run it, and how soon they should look."""

    id: UUID
    kind: str
    priority: int


@dataclass(frozen=True, slots=True)
class SameHints:
    """Hints of many tasks of one kind and priority, with ids as text."""

    ids: Sequence[str]
    kind: str
    priority: int


@dataclass(slots=True)
class Claim:
    """The right to run a task once. Only `claim_id` lets its holder write the task (docs/protocol.md, I4)."""

    id: UUID
    claim_id: UUID
    kind: str
    content: str
    attempt: int
    lost_count: int = 0
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    cursor: str | None = None
    traceparent: str | None = None
    tenant: str | None = None
    has_callback: bool = False
    group_id: UUID | None = None
