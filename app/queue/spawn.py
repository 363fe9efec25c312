"""Tasks that handlers make, behind the fence of the task that makes them."""

from collections.abc import Callable, Sequence
from uuid import UUID

from app.core.events import Emit
from app.core.task import Claim
from app.db.engine import Database
from app.queue.wakeup import Wakeup


class Spawner:
    """Creates children."""

    def __init__(self, database: Database, wakeup: Wakeup, check: Callable[[str, str], None], emit: Emit) -> None:
        self._database = database
        self._wakeup = wakeup
        self._check = check
        self._emit = emit

    async def spawn(self, claim: Claim, key: str, children: Sequence[object]) -> list[UUID]:
        """Create tasks."""
        raise NotImplementedError

    async def spawn_group(
        self, claim: Claim, key: str, children: Sequence[object], on_failure: str, then: object
    ) -> UUID:
        """Create a group."""
        raise NotImplementedError
