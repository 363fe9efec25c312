"""What may be asked of a new task."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from app.api.callback_url import CallbackUrl
from app.api.schemas import AnyJson
from app.core.task import NewTask, Priority

LONGEST_DELAY_SECONDS = 315_360_000  # ten years

PriorityName = Literal["high", "normal", "low"]

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def rfc_3339(value: Any) -> Any:
    """A time in UTC, of a string and no other way to write one: pydantic would take "1700000000"."""
    if not isinstance(value, str):
        return value
    if not _RFC_3339.fullmatch(value):
        raise ValueError("is no time as RFC 3339 has it, as in 2026-12-24T18:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is a time that there is not") from None


class TaskOptions(BaseModel):
    """What may be said of a task besides what it is about."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "not": {
                "required": ["run_at", "delay_seconds"],
                "properties": {"run_at": {"type": "string"}, "delay_seconds": {"type": "number"}},
            }
        },
    )

    priority: Annotated[PriorityName, Field(description="Of the tasks that are due, higher ones start first.")] = (
        "normal"
    )
    run_at: Annotated[
        Annotated[AwareDatetime, BeforeValidator(rfc_3339)] | None,
        Field(
            description="Not before this time (RFC 3339, with an offset). A time that has passed means at once.",
            examples=["2026-12-24T18:00:00Z"],
        ),
    ] = None
    delay_seconds: Annotated[
        float | None,
        Field(ge=0, le=LONGEST_DELAY_SECONDS, allow_inf_nan=False, description="Not before this long from now."),
    ] = None
    max_attempts: Annotated[
        int | None, Field(ge=1, le=1_000, description="How often it may be tried; the kind's where it is left out.")
    ] = None
    timeout_seconds: Annotated[
        float | None,
        Field(
            gt=0,
            le=LONGEST_DELAY_SECONDS,
            allow_inf_nan=False,
            description="How long an attempt may take; the kind's where it is left out.",
        ),
    ] = None
    concurrency_key: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            pattern=r"^[^\x00-\x1f\x7f]*$",
            description="Of the tasks with one key, `concurrency_limit` run at once, over all consumers.",
            examples=["customer-17"],
        ),
    ] = None
    concurrency_limit: Annotated[int, Field(ge=1, le=10_000, description="See `concurrency_key`.")] = 1

    @field_validator("delay_seconds")
    @classmethod
    def _not_both(cls, delay_seconds: float | None, info: ValidationInfo) -> float | None:
        if delay_seconds is not None and info.data.get("run_at") is not None:
            raise ValueError("says the same as run_at: send one of them")
        return delay_seconds


class NewTaskBody(TaskOptions):
    """A task to create."""

    model_config = ConfigDict(strict=True, extra="forbid", title="NewTask")

    content: Annotated[AnyJson, Field(description="What the task is about: any JSON value.")]  # described by JSON_VALUE
    kind: Annotated[
        str | None,
        Field(description="Which handler does it; DEFAULT_KIND where it is left out.", examples=["simulate"]),
    ] = None
    callback_url: Annotated[
        CallbackUrl | None, Field(description="Is told, signed, when the task has ended: see the callback `ended`.")
    ] = None

    def to_task(self, task_id: UUID, kind: str, content: str, traceparent: str | None, tenant: str | None) -> NewTask:
        """The task that is asked for."""
        if not self.model_fields_set - {"content", "kind"}:
            return NewTask(task_id, kind, content, traceparent=traceparent, tenant=tenant)
        return NewTask(
            task_id,
            kind,
            content,
            priority=Priority[self.priority.upper()],
            run_at=self.run_at,
            delay=None if self.delay_seconds is None else timedelta(seconds=self.delay_seconds),
            max_attempts=self.max_attempts,
            timeout_seconds=self.timeout_seconds,
            concurrency_key=self.concurrency_key,
            concurrency_limit=self.concurrency_limit,
            traceparent=traceparent,
            tenant=tenant,
            callback_url=self.callback_url,
        )


NEW_TASK_EXAMPLES: dict[str, dict[str, Any]] = {
    "shortest": {"content": "hello"},
    "with its kind": {"kind": "simulate", "content": {"order": 17}},
    "later, and not for ever": {
        "content": "hello",
        "delay_seconds": 60,
        "priority": "high",
        "max_attempts": 3,
        "timeout_seconds": 30,
    },
    "one at a time": {"content": "hello", "concurrency_key": "customer-17"},
    "tell when it has ended": {"content": "hello", "callback_url": "https://example.com/hooks/taskmill"},
}
