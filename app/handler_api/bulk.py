"""What the kind `bulk` may do to other tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from app.core.task_filter import TaskFilter, Visible

__all__ = ["Action", "BulkTools", "Found", "TaskFilter", "Visible"]

Action = Literal["cancel", "retry"]


@dataclass(frozen=True, slots=True)
class Found:
    """Some of the tasks that match. `before`: the others have lower ids than this; None: these were the last."""

    ids: Sequence[UUID]
    before: UUID | None


class BulkTools(Protocol):
    """To find tasks and to act on them, as clients do."""

    async def find(self, wanted: TaskFilter, visible: Visible, before: UUID, limit: int) -> Found:
        """The newest of the tasks that match and have ids below `before`, but none that Taskmill itself has made.

        At most `limit`; fewer, or none, does not mean that these are the last.
        """

    async def act(self, action: Action, ids: Sequence[UUID]) -> int:
        """Do it to all of these that it can be done to; how many are so then, now or before."""
