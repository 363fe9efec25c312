"""What a delivery is: the task that tells the end of a task or a group (docs/callbacks.md)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(slots=True)
class Delivery:
    """A delivery as its row stands, in the order of queue/deliveries.py's columns.

    `status` is the task's. `result`, `error` and `history` are JSON text, in which the handler has recorded its tries.
    """

    id: UUID
    webhook_id: str
    type: str
    url: str
    status: str
    result: str | None
    error: str | None
    history: str | None
    run_at: datetime
    created_at: datetime
    finished_at: datetime | None
