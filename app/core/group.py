"""What a group is: tasks that belong together, and the shapes in which it travels."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from app.core.idempotency import IdempotencyKey
from app.core.task import NewTask

MOST_MEMBERS = 10_000

OnFailure = Literal["cancel_rest", "continue"]


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group that is asked for: 1 to MOST_MEMBERS members with its id in `group_id`.

    `then` is created once all members have ended, due `delay` after that or at `run_at`. Its content must be a JSON
    object without a member `group`, which is put in at the end: queue/then.py.
    """

    id: UUID
    members: Sequence[NewTask]
    on_failure: OnFailure = "continue"
    then: NewTask | None = None
    tenant: str | None = None
    callback_url: str | None = None
    idempotency: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it stands, in the order of queue/read_group.py's columns; the counts are of one moment.

    `then_id`: the id that the `then` task has or will have. `done`, `done_of`: the progress of all members that have
    reported any, as JSON numbers; None where none has, or where one has not said of how much. `errors`: JSON text, the
    first members that failed. `version`: one more at each change, of the group or of a member (queue/read_group.py).
    """

    id: UUID
    on_failure: str
    total: int
    then_id: UUID | None
    created_at: datetime
    canceled_at: datetime | None
    ended_at: datetime | None
    pending: int
    processing: int
    completed: int
    failed: int
    canceled: int
    done: str | None
    done_of: str | None
    errors: str
    tenant: str | None
    callback_url: str | None
    version: int
