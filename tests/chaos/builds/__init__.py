"""Deliberately weakened builds, to show that the checker finds what it should. Never a switch in app/."""

import asyncio

from app.consumer.heartbeat import Heartbeat
from app.db.engine import Database
from app.queue import finish

FENCE = finish.HELD
STATEMENTS = 6  # that finish a task, besides the fence itself
# So that a result finds its row, as it did before: by the claim it would find none where the claim is another's.
_BY_CLAIM, _BY_ID = "array_position($2::uuid[], tasks.claim_id)", "array_position($1::uuid[], tasks.id)"

_beat = Heartbeat._beat  # the second guard, which would hide that the first is gone
_HEARS_LATE_SECONDS = 0.5


async def _late_beat(self: Heartbeat, database: Database) -> bool | None:
    answer = await _beat(self, database)
    if answer is False:
        await asyncio.sleep(_HEARS_LATE_SECONDS)
    return answer


def hear_late() -> None:
    """Let whoever wakes after his death hear of it a little later.

    Else he mostly stops before he has written what only the fence keeps out, and the proof would rest on who is first.
    """
    Heartbeat._beat = _late_beat  # type: ignore[method-assign]


def weaken(fence: str) -> None:
    """Finish by another condition in this process, too. Fails where the text is not there, lest it does nothing."""
    hear_late()
    fenced = {name: text for name, text in vars(finish).items() if isinstance(text, str) and FENCE in text}
    if len(fenced) != STATEMENTS + 1:
        raise RuntimeError(f"the fence stands in {sorted(fenced)}, and not in {STATEMENTS} statements")
    for name, text in fenced.items():
        weak = f" {fence} AND $2::uuid[] IS NOT NULL "
        setattr(finish, name, text.replace(FENCE, weak).replace(_BY_CLAIM, _BY_ID))
