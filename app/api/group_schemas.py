"""The shapes of requests and answers about groups."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.api.callback_url import CallbackUrl
from app.api.json_text import quoted, text, utc
from app.api.new_task_schemas import NewTaskBody
from app.api.schemas import REFERENCE, TEXT
from app.api.task_schemas import TASK_EXAMPLE, ErrorView
from app.core.group import MOST_MEMBERS, Group, OnFailure


class ThenBody(NewTaskBody):
    """The task to start once all members have ended."""

    model_config = ConfigDict(strict=True, extra="forbid", title="ThenTask")

    content: Annotated[  # described by THEN_CONTENT
        dict[str, Any],
        Field(description="What the task is about: an object, to which `group` is added, the group's id and counts."),
    ] = {}  # noqa: RUF012 - pydantic copies it


# JSON values as in JSON_VALUE, but for the name that is put in.
THEN_CONTENT: dict[str, Any] = {
    "type": "object",
    "properties": {"group": {"not": {}}},  # nothing at all; generators of clients do not all know `false`
    "propertyNames": TEXT,
    "additionalProperties": REFERENCE,
}


class NewGroupBody(BaseModel):
    """Tasks that belong together."""

    model_config = ConfigDict(strict=True, extra="forbid", title="NewGroup")

    tasks: Annotated[
        list[NewTaskBody],
        Field(min_length=1, max_length=MOST_MEMBERS, description="Its members, each as in `POST /task`."),
    ]
    on_failure: Annotated[
        OnFailure,
        Field(description="When a member has failed for good: `cancel_rest` cancels the others, running ones too."),
    ] = "continue"
    then: Annotated[ThenBody | None, Field(description="A task that is started once, when all members have ended.")] = (
        None
    )
    callback_url: Annotated[
        CallbackUrl | None, Field(description="Is told, signed, when the group has ended: see the callback `ended`.")
    ] = None


NEW_GROUP_EXAMPLES: dict[str, dict[str, Any]] = {
    "shortest": {"tasks": [{"content": "hello"}]},
    "all or nothing, then one more": {
        "tasks": [{"content": {"simulate_seconds": 1}}, {"kind": "simulate", "content": "b", "priority": "high"}],
        "on_failure": "cancel_rest",
        "then": {"kind": "simulate", "content": {"report": 17}},
    },
    "tell when all have ended": {
        "tasks": [{"content": "a"}, {"content": "b"}],
        "callback_url": "https://example.com/hooks/taskmill",
    },
}


class CountsView(BaseModel):
    """How many members have each status; together they are `total`."""

    model_config = ConfigDict(title="GroupCounts")

    pending: Annotated[int, Field(examples=[2])]
    processing: Annotated[int, Field(examples=[0])]
    completed: Annotated[int, Field(examples=[0])]
    failed: Annotated[int, Field(examples=[0])]
    canceled: Annotated[int, Field(examples=[0])]


class GroupProgressView(BaseModel):
    """The progress of the members that have reported any, summed."""

    model_config = ConfigDict(title="GroupProgress")

    done: Annotated[float, Field(examples=[300])]
    total: Annotated[float | None, Field(description="Null where one of them has not said of how much.")]


class GroupErrorView(ErrorView):
    """Why a member failed."""

    model_config = ConfigDict(title="GroupError")

    task_id: Annotated[str, Field(examples=["0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"])]


class GroupView(BaseModel):
    """A group as it stands."""

    model_config = ConfigDict(title="Group")

    id: Annotated[str, Field(description="Of the group; each member has it as `group_id`.")]
    on_failure: Annotated[OnFailure, Field(description="As it was posted.")]
    status: Annotated[
        Literal["open", "ended"], Field(description="`ended` once no member was pending or processing any more.")
    ]
    total: Annotated[int, Field(description="How many members it has.")]
    counts: Annotated[CountsView, Field(description="Of one moment, and exact.")]
    progress: Annotated[GroupProgressView | None, Field(description="Null where no member has reported any.")]
    errors: Annotated[list[GroupErrorView], Field(description="Of the first members that failed, ten at most.")]
    then_task_id: Annotated[
        str | None, Field(description="The id of the `then` task; it is there once the group has ended.")
    ]
    created_at: Annotated[datetime, Field(description="UTC, with microseconds.")]
    canceled_at: Annotated[datetime | None, Field(description="When a client canceled it; then no `then` is started.")]
    ended_at: Annotated[datetime | None, Field(description="When the last member had ended.")]
    callback_url: Annotated[str | None, Field(description="What is told when it has ended.")]
    tenant: Annotated[str | None, Field(description="The label of the key that created it.")]


class NewGroupView(GroupView):
    """A group as it was created."""

    model_config = ConfigDict(title="CreatedGroup")

    task_ids: Annotated[list[str], Field(description="The ids of its members, in the order in which they were sent.")]


GROUP_EXAMPLE: dict[str, Any] = {
    "id": "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21",
    "on_failure": "cancel_rest",
    "status": "open",
    "total": 2,
    "counts": {"pending": 2, "processing": 0, "completed": 0, "failed": 0, "canceled": 0},
    "progress": None,
    "errors": [],
    "then_task_id": "0192d2ab-4e1f-7a30-8b6e-40a1c3b2d4e5",
    "created_at": "2024-10-28T08:04:08.990161Z",
    "canceled_at": None,
    "ended_at": None,
    "callback_url": None,
    "tenant": None,
}
NEW_GROUP_EXAMPLE = GROUP_EXAMPLE | {"task_ids": [TASK_EXAMPLE["id"], "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e22"]}
CANCELED_GROUP_EXAMPLE = GROUP_EXAMPLE | {
    "status": "ended",
    "counts": {"pending": 0, "processing": 0, "completed": 0, "failed": 0, "canceled": 2},
    "canceled_at": "2024-10-28T08:04:09.412083Z",
    "ended_at": "2024-10-28T08:04:09.415601Z",
}


def render_group(group: Group, task_ids: Sequence[UUID] | None = None) -> bytes:
    """The JSON of a GroupView; with `task_ids`, that of a NewGroupView. A test holds it to that."""
    progress = "null" if group.done is None else f'{{"done":{group.done},"total":{group.done_of or "null"}}}'
    members = "" if task_ids is None else f',"task_ids":[{",".join(map(quoted, task_ids))}]'
    return (
        f'{{"id":"{group.id}","on_failure":"{group.on_failure}",'
        f'"status":"{"open" if group.ended_at is None else "ended"}","total":{group.total},'
        f'"counts":{{"pending":{group.pending},"processing":{group.processing},"completed":{group.completed},'
        f'"failed":{group.failed},"canceled":{group.canceled}}},"progress":{progress},"errors":{group.errors},'
        f'"then_task_id":{quoted(group.then_id)},"created_at":{utc(group.created_at)},'
        f'"canceled_at":{utc(group.canceled_at)},"ended_at":{utc(group.ended_at)},'
        f'"callback_url":{text(group.callback_url)},"tenant":{text(group.tenant)}{members}}}'
    ).encode()
