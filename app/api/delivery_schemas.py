"""What is answered of deliveries."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from app.api.group_schemas import GroupView
from app.api.json_text import utc
from app.api.schemas import to_json
from app.api.task_schemas import TaskView
from app.core.delivery import Delivery
from app.core.task import TaskStatus
from app.handlers.callback.tries import Try, read_delivered, read_failed

_MESSAGE_EXAMPLE = "msg_0192d2ab4e1f7a308b6e3f0c9a5d7e21_3"

MessageType = Literal["task.completed", "task.failed", "task.canceled", "group.ended"]


class TryView(BaseModel):
    """A try to deliver a message."""

    model_config = ConfigDict(title="DeliveryTry")

    at: Annotated[datetime, Field(description="When it had its answer, or was given up.")]
    status: Annotated[int | None, Field(description="Of the answer; null where there was none.", examples=[500])]
    error: Annotated[str | None, Field(description="Why it counts as failed; null where it does not.")]
    duration_ms: Annotated[int | None, Field(description="Null where its consumer died.", examples=[17])]


class DeliveryView(BaseModel):
    """A delivery as it stands: a task of a kind of its own, which can also be read, canceled and retried as a task."""

    model_config = ConfigDict(title="Delivery")

    id: Annotated[str, Field(description="Of the task that makes it.")]
    webhook_id: Annotated[
        str, Field(description="Of the message: the same in all tries and repeats.", examples=[_MESSAGE_EXAMPLE])
    ]
    type: Annotated[MessageType, Field(description="What it tells.")]
    url: Annotated[str, Field(description="Where it goes.", examples=["https://example.com/hooks/taskmill"])]
    status: Annotated[
        Literal["pending", "delivering", "delivered", "failed", "canceled"],
        Field(description="`failed`: the receiver answered 410, or the day was over."),
    ]
    tries: Annotated[list[TryView], Field(description="Oldest first, the last 20.")]
    next_try_at: Annotated[datetime | None, Field(description="Null where there is none to come.")]
    created_at: Annotated[datetime, Field(description="When what it tells has ended, or the repeat was asked for.")]


class DeliveryList(BaseModel):
    """Deliveries, newest first."""

    deliveries: Annotated[list[DeliveryView], Field(description="The last 100.")]


DELIVERY_EXAMPLE: dict[str, Any] = {
    "id": "0192d2ab-5c3e-7b14-9f02-6f1c2d3e4a5b",
    "webhook_id": _MESSAGE_EXAMPLE,
    "type": "task.completed",
    "url": "https://example.com/hooks/taskmill",
    "status": "pending",
    "tries": [],
    "next_try_at": "2024-10-28T08:04:12.412083Z",
    "created_at": "2024-10-28T08:04:12.412083Z",
}
DELIVERIES_EXAMPLE: dict[str, Any] = {
    "deliveries": [
        DELIVERY_EXAMPLE
        | {
            "status": "delivered",
            "tries": [
                {
                    "at": "2024-10-28T08:04:12.431920Z",
                    "status": 500,
                    "error": "The server answered 500 Internal Server Error.",
                    "duration_ms": 17,
                },
                {"at": "2024-10-28T08:04:17.702331Z", "status": 204, "error": None, "duration_ms": 12},
            ],
            "next_try_at": None,
        }
    ]
}


class TaskEnded(BaseModel):
    """What is sent to a task's `callback_url`."""

    type: Annotated[Literal["task.completed", "task.failed", "task.canceled"], Field(examples=["task.completed"])]
    timestamp: Annotated[datetime, Field(description="When it ended.")]
    data: Annotated[
        TaskView,
        Field(
            description="The task as it ended. What was left to its kind (`max_attempts`, `timeout_seconds`) is null."
        ),
    ]


class GroupEnded(BaseModel):
    """What is sent to a group's `callback_url`."""

    type: Annotated[Literal["group.ended"], Field(examples=["group.ended"])]
    timestamp: Annotated[datetime, Field(description="When it ended.")]
    data: Annotated[GroupView, Field(description="The group as it ended.")]


_WORDS: dict[str, str] = {TaskStatus.PROCESSING: "delivering", TaskStatus.COMPLETED: "delivered"}


def render_deliveries(deliveries: Sequence[Delivery]) -> bytes:
    """The JSON of a DeliveryList."""
    return f'{{"deliveries":[{",".join(map(_text, deliveries))}]}}'.encode()


def render_delivery(delivery: Delivery) -> bytes:
    """The JSON of a DeliveryView."""
    return _text(delivery).encode()


def _text(delivery: Delivery) -> str:
    next_try_at = delivery.run_at if delivery.status == TaskStatus.PENDING else None
    fields = {
        "id": to_json(str(delivery.id)),
        "webhook_id": to_json(delivery.webhook_id),
        "type": to_json(delivery.type),
        "url": to_json(delivery.url),
        "status": to_json(_WORDS.get(delivery.status, delivery.status)),
        "tries": to_json(_tries(delivery)),
        "next_try_at": utc(next_try_at),
        "created_at": utc(delivery.created_at),
    }
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


def _tries(delivery: Delivery) -> list[dict[str, Any]]:
    """From what a task keeps: the errors of its attempts, and the result of the one that had none."""
    errors = from_json(delivery.history or "[]")
    if delivery.error is not None:
        errors.append(from_json(delivery.error))
    tries = [_try(error["at"], read_failed(error["message"])) for error in errors]
    if delivery.result is not None:
        assert delivery.finished_at is not None
        tries.append(_try(from_json(utc(delivery.finished_at)), read_delivered(from_json(delivery.result))))
    return tries


def _try(at: str, made: Try) -> dict[str, Any]:
    return {"at": at, "status": made.status, "error": made.error, "duration_ms": made.duration_ms}
