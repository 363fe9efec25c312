"""What a task is: its states, and the three shapes in which it travels."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class TaskStatus(StrEnum):
    """The states of a task.

    pending ──claim──▶ processing ──▶ completed | failed
       │ ◀──release, recover──┘ │
       └────────cancel──────────┴──▶ canceled
    """

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task that a client asks for. `content` is JSON text, already checked."""

    id: UUID
    kind: str
    content: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task as its row stands. `content` is JSON text; times are UTC."""

    id: UUID
    kind: str
    content: str
    status: str
    created_at: datetime
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a task once. Only `claim_id` lets its holder write the task (docs/protocol.md, I4)."""

    id: UUID
    claim_id: UUID
    kind: str
    content: str
    attempt: int
