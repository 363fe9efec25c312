"""What tasks may be asked for by."""

from typing import Annotated, Any, cast
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from app.api.new_task_schemas import PriorityName, rfc_3339
from app.api.schemas import TEXT
from app.core.task import Priority, TaskStatus
from app.core.task_filter import TaskFilter

_LEFT_OUT: Any = Field(default_factory=lambda: None)  # null, sent, is refused: it would read as a condition

Time = Annotated[AwareDatetime, BeforeValidator(rfc_3339)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Kind = Annotated[Name, Field(json_schema_extra=TEXT)]


class FilterBody(BaseModel):
    """All that is said must hold."""

    model_config = ConfigDict(strict=True, extra="forbid", title="TaskFilter")

    status: Annotated[
        list[TaskStatus],
        Field(min_length=1, max_length=10, description="One of these.", examples=[["failed", "canceled"]]),
    ] = _LEFT_OUT
    kind: Annotated[
        list[Kind], Field(min_length=1, max_length=20, description="One of these.", examples=[["simulate"]])
    ] = _LEFT_OUT
    group: Annotated[UUID, Field(description="Members of the group with this id.")] = _LEFT_OUT
    priority: Annotated[PriorityName, Field(examples=["high"])] = _LEFT_OUT
    created_after: Annotated[
        Time, Field(description="Created at this time or later (RFC 3339), by the milliseconds in the id.")
    ] = _LEFT_OUT
    created_before: Annotated[
        Time, Field(description="Created before this time (RFC 3339), by the milliseconds in the id.")
    ] = _LEFT_OUT
    finished_after: Annotated[Time, Field(description="Ended at this time or later (RFC 3339).")] = _LEFT_OUT
    finished_before: Annotated[Time, Field(description="Ended before this time (RFC 3339).")] = _LEFT_OUT
    content: Annotated[
        dict[Name, Annotated[str, Field(max_length=1_000, json_schema_extra=TEXT)]],
        Field(
            min_length=1,
            max_length=10,
            description="The content is an object with these names, and their values, as text, are these.",
            examples=[{"customer": "17"}],
            # Of a pattern of the names pydantic would make patternProperties, which forbid nothing.
            json_schema_extra={"propertyNames": TEXT | {"minLength": 1, "maxLength": 255}},
        ),
    ] = _LEFT_OUT

    def to_filter(self) -> TaskFilter:
        """What is asked for; the same for what means the same."""
        said = cast("dict[str, Any]", {name: getattr(self, name) for name in self.model_fields_set})
        return TaskFilter(
            statuses=tuple(sorted(set(said.pop("status", ())))),
            kinds=tuple(sorted(set(said.pop("kind", ())))),
            priority=Priority[said.pop("priority").upper()] if "priority" in said else None,
            content=dict(sorted(said.pop("content", {}).items())),
            **said,
        )
