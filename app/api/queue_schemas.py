"""The shapes of queues in requests and answers, and of what holds a task back."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.core.task import TaskStatus
from app.core.why import MOST_COUNTED, Reason


class QueueChange(BaseModel):
    """What to change of a queue."""

    model_config = ConfigDict(strict=True, extra="forbid", title="QueueChange")

    paused: Annotated[bool, Field(description="Whether consumers leave its tasks alone.", examples=[True])]


class QueueCounts(BaseModel):
    """Tasks by status; exact."""

    pending: Annotated[int, Field(description="The queue's depth.", examples=[120])]
    processing: Annotated[int, Field(examples=[100])]
    completed: Annotated[int, Field(description="Of those that are kept.", examples=[40_312])]
    failed: Annotated[int, Field(examples=[12])]
    canceled: Annotated[int, Field(examples=[3])]


class ConsumerView(BaseModel):
    """A consumer process that beats."""

    model_config = ConfigDict(title="Consumer")

    id: Annotated[str, Field(examples=["6f3c1e0e-6c0d-4a39-9d3c-0d9c2f6f1b52"])]
    host: Annotated[str, Field(examples=["worker-1"])]
    pid: Annotated[int, Field(examples=[4711])]
    kinds: Annotated[list[str], Field(description="Of this queue, those that it serves.", examples=[["simulate"]])]
    started_at: Annotated[datetime, Field(examples=["2024-10-28T07:00:00.000000Z"])]
    beat_at: Annotated[datetime, Field(examples=["2024-10-28T08:04:07.120000Z"])]


class QueueView(BaseModel):
    """A queue as it stands."""

    model_config = ConfigDict(title="Queue")

    name: Annotated[str, Field(description="`(unknown)`: of kinds that this API does not know.", examples=["default"])]
    kinds: Annotated[list[str], Field(description="Its kinds of task.", examples=[["simulate", "http"]])]
    counts: Annotated[QueueCounts, Field(description="Of all its kinds.")]
    oldest_wait_seconds: Annotated[
        float | None, Field(description="Since the oldest task that could start came due.", examples=[1.25])
    ]
    created_per_minute: Annotated[float, Field(description="Mean of the last five full minutes.", examples=[840.2])]
    ended_per_minute: Annotated[float, Field(description="The same.", examples=[836.0])]
    consumers: Annotated[list[ConsumerView], Field(description="That serve some of its kinds.")]
    paused_at: Annotated[datetime | None, Field(description="Since when; null while it runs.", examples=[None])]


class QueueList(BaseModel):
    """All queues, by name."""

    queues: Annotated[list[QueueView], Field(description="Those of the kinds that there are.")]


class HolderView(BaseModel):
    """The consumer process that runs a task."""

    model_config = ConfigDict(title="Holder")

    id: Annotated[str, Field(examples=["6f3c1e0e-6c0d-4a39-9d3c-0d9c2f6f1b52"])]
    host: Annotated[str, Field(examples=["worker-1"])]
    pid: Annotated[int, Field(examples=[4711])]


class PlaceView(BaseModel):
    """Who has the places of a concurrency key, and who comes first."""

    model_config = ConfigDict(title="Place")

    key: Annotated[str, Field(examples=["customer-7"])]
    limit: Annotated[int, Field(description="The lowest of the tasks concerned.", examples=[1])]
    held: Annotated[int, Field(description="Places taken.", examples=[1])]
    held_by: Annotated[list[str], Field(description="Tasks that have them, the first ten that the caller may see.")]
    ahead: Annotated[int, Field(description=f"Tasks that get a place first; at most {MOST_COUNTED}.", examples=[4])]


class WhyView(BaseModel):
    """What holds a task back, in one moment. What does not apply is null."""

    model_config = ConfigDict(title="Why")

    task_id: Annotated[str, Field(examples=["0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"])]
    status: Annotated[TaskStatus, Field(examples=["pending"])]
    reason: Annotated[Reason, Field(description="For programs: one of a closed set.")]
    message: Annotated[
        str, Field(description="The same in words.", examples=["Tasks of its queue that are before it: 12."])
    ]
    at: Annotated[datetime, Field(description="The moment.", examples=["2024-10-28T08:04:09.412083Z"])]
    queue: Annotated[str, Field(examples=["default"])]
    run_at: Annotated[datetime, Field(description="When it is due.", examples=["2024-10-28T08:04:08.990161Z"])]
    seconds: Annotated[
        float | None,
        Field(
            description="Until it is due; or `in_line`, until it starts, as fast as tasks of its queue end now.",
            examples=[3.5],
        ),
    ]
    ahead: Annotated[
        int | None, Field(description=f"`in_line`: tasks before it; at most {MOST_COUNTED}.", examples=[12])
    ]
    ahead_is_more: Annotated[bool, Field(description="There are more than `ahead`, here or of its key.")]
    consumer: Annotated[HolderView | None, Field(description="`running`: who runs it.", examples=[None])]
    paused_at: Annotated[datetime | None, Field(description="`queue_paused`: since when.", examples=[None])]
    concurrency: Annotated[PlaceView | None, Field(description="`limit_reached`: by whom.", examples=[None])]


CHANGE_EXAMPLES: dict[str, dict[str, Any]] = {"pause": {"paused": True}, "resume": {"paused": False}}
QUEUE_EXAMPLE: dict[str, Any] = {
    "name": "default",
    "kinds": ["simulate", "http"],
    "counts": {"pending": 120, "processing": 100, "completed": 40_312, "failed": 12, "canceled": 3},
    "oldest_wait_seconds": 1.25,
    "created_per_minute": 840.2,
    "ended_per_minute": 836.0,
    "consumers": [
        {
            "id": "6f3c1e0e-6c0d-4a39-9d3c-0d9c2f6f1b52",
            "host": "worker-1",
            "pid": 4711,
            "kinds": ["simulate", "http"],
            "started_at": "2024-10-28T07:00:00.000000Z",
            "beat_at": "2024-10-28T08:04:07.120000Z",
        }
    ],
    "paused_at": None,
}
WHY_EXAMPLE: dict[str, Any] = {
    "task_id": "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21",
    "status": "pending",
    "reason": "in_line",
    "message": "Tasks of its queue that are before it: 12.",
    "at": "2024-10-28T08:04:09.412083Z",
    "queue": "default",
    "run_at": "2024-10-28T08:04:08.990161Z",
    "seconds": 3.5,
    "ahead": 12,
    "ahead_is_more": False,
    "consumer": None,
    "paused_at": None,
    "concurrency": None,
}
