"""What the task that follows a group is told of it."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict


class GroupResult(BaseModel):
    """What became of a group's members. The payload of a `then` task has it, as `group: GroupResult`."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    id: UUID
    total: int
    completed: int
    failed: int
    canceled: int
