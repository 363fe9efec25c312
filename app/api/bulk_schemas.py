"""The shape of requests for actions on many tasks."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.filter_schemas import FilterBody
from app.handler_api.bulk import Action


class BulkFilterBody(FilterBody):
    """All that is said must hold, and something must be said."""

    model_config = ConfigDict(strict=True, extra="forbid", title="BulkFilter", json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("says nothing: name at least one condition, so that no slip means all tasks")
        return self


class BulkBody(BaseModel):
    """Something to do to many tasks."""

    model_config = ConfigDict(strict=True, extra="forbid", title="Bulk")

    action: Annotated[
        Action,
        Field(description="`cancel`: those that are pending or processing. `retry`: those that are failed."),
    ]
    filter: Annotated[BulkFilterBody, Field(description="To which tasks, as in `GET /task`; at least one condition.")]
    dry_run: Annotated[bool, Field(description="Only count them.")] = False


BULK_EXAMPLES: dict[str, dict[str, Any]] = {
    "count first": {"action": "cancel", "filter": {"content": {"customer": "17"}}, "dry_run": True},
    "retry what failed that day": {
        "action": "retry",
        "filter": {"finished_after": "2026-11-21T00:00:00Z", "finished_before": "2026-11-22T00:00:00Z"},
    },
}
