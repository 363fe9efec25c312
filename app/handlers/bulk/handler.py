"""`bulk`: cancels or retries all tasks that match a filter and were there when it was asked for."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.handler_api.context import Options, Progress, TaskContext
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done
from app.handlers.bulk.payload import Bulk

_AT_ONCE = 500
_MAX_ATTEMPTS = 20


class Place(BaseModel):
    """How far a run is, as its cursor keeps it: these `ids` are next, then those below `before`, if any.

    They are noted before anything is done to them, so that the run after a crash does it to the same, and counts each
    once.
    """

    model_config = ConfigDict(frozen=True)

    before: UUID | None
    ids: Annotated[tuple[UUID, ...], Field(max_length=_AT_ONCE)] = ()
    matched: int = 0
    changed: int = 0


async def bulk(payload: Bulk, task: TaskContext[Options]) -> Done:
    """Walk down from the task's own id."""
    tools = task.tools.bulk
    place = Place(before=task.id) if task.cursor is None else Place.model_validate(task.cursor)
    while True:
        changed = place.changed
        if place.ids and not payload.dry_run:
            changed += await tools.act(payload.action, place.ids)
        matched = place.matched + len(place.ids)
        if place.before is None:
            task.progress(matched, matched, _words(changed))
            return Done({"matched": matched, "changed": changed, "dry_run": payload.dry_run})
        found = await tools.find(payload.filter, payload.visible, place.before, _AT_ONCE)
        place = Place(before=found.before, ids=tuple(found.ids), matched=matched, changed=changed)
        # Also the fence: a run that was canceled or replaced meanwhile gets no further.
        async with task.checkpoint(
            progress=Progress(matched, None, _words(changed)), cursor=place.model_dump(mode="json")
        ):
            pass


def _words(changed: int) -> str:
    return f"{changed:,} changed"


# A queue of its own: what is to stop a flood runs also where the queue of the flood is paused.
HANDLER = Handler(payload=Bulk, run=bulk, max_attempts=_MAX_ATTEMPTS, queue="bulk", is_internal=True)
