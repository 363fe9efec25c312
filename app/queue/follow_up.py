"""What follows a task's leaving: others with its key are let through, and its group may have ended."""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from app.core.errors import DatabaseUnavailableError
from app.core.events import Emit
from app.db.engine import Database
from app.queue.admit import admit
from app.queue.finish import Left
from app.queue.wakeup import Wakeup
from app.utils.batcher import Batcher

_BATCH = 500


class FollowUp:
    """Nobody waits for it, and each sweep makes up for one that was lost."""

    def __init__(self, database: Database, wakeup: Wakeup, emit: Emit) -> None:
        self._database = database
        self._wakeup = wakeup
        self._emit = emit
        self._keys: Batcher[str, None] = Batcher(self._admit, _BATCH)

    def left(self, tasks: Iterable[Left]) -> None:
        """These tasks have ended, or gone back to pending."""
        for task in tasks:
            if task.concurrency_key is not None:
                self._keys.submit(task.concurrency_key)

    def freed(self, keys: Iterable[str]) -> None:
        """These keys may have a place, and somebody who waits for it."""
        for key in keys:
            self._keys.submit(key)

    async def drain(self) -> None:
        """Wait until everything is followed up."""
        await self._keys.drain()

    async def _admit(self, keys: list[str]) -> Sequence[None]:
        with suppress(DatabaseUnavailableError):  # whoever needs PostgreSQL says so; the sweep finds the keys
            self._wakeup.push(await admit(self._database, sorted(set(keys))))
        return [None] * len(keys)
