"""What becomes of groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.core.events.event import Event


@dataclass(frozen=True, slots=True)
class GroupCreated(Event):
    """Committed: this group and its members."""

    group_id: UUID
    total: int


@dataclass(frozen=True, slots=True)
class GroupCanceled(Event):
    """A client canceled this group."""

    group_id: UUID


@dataclass(frozen=True, slots=True)
class MembersCanceled(Event):
    """These tasks were canceled with their group: a client canceled it, or another member failed."""

    task_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class GroupsPruned(Event):
    """So many groups, ended long ago and left without members, are deleted."""

    count: int


@dataclass(frozen=True, slots=True)
class GroupEnded(Event):
    """All members of this group have ended."""

    group_id: UUID
    completed: int
    failed: int
    canceled: int
