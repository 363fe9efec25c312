"""A number of slots, and the kinds of task that run in them."""

import asyncio
import random
from collections.abc import Collection, Sequence

from app.core.config import Settings
from app.core.task import Priority
from app.handlers import Catalog


class Lane:
    """Slots of the event loop, or of child processes.

    A slot is free as soon as its handler has ended: the next claim is under way while outcomes are written. While
    PostgreSQL keeps outcomes waiting, that stops at as many as there are slots.
    """

    def __init__(self, kinds: Sequence[str], concurrency: int, *, is_isolated: bool = False) -> None:
        self.kinds = list(kinds)
        self.is_isolated = is_isolated
        self.concurrency = concurrency
        self._working = 0
        self._unrecorded = 0
        self._open = self.kinds
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        """Tasks that could start right now."""
        return min(self.concurrency - self._working, 2 * self.concurrency - self._unrecorded)

    @property
    def unrecorded(self) -> int:
        """Runs whose outcome is not recorded yet."""
        return self._unrecorded

    def wanted(self) -> list[tuple[int, str]]:
        """(priority, kind) in the order in which to look for tasks.

        Higher priorities first; kinds in turns, so that a crowd of one kind does not keep out another.
        """
        kinds = random.sample(self._open, len(self._open))
        return [(priority, kind) for priority in Priority for kind in kinds]

    def pause(self, kinds: Collection[str]) -> None:
        """Look for tasks of all kinds but these."""
        still_open = [kind for kind in self.kinds if kind not in kinds]
        if still_open != self._open:
            self._open = still_open
            self._changed.set()

    def take(self) -> None:
        """A task starts."""
        self._working += 1
        self._unrecorded += 1

    def leave(self) -> None:
        """Its handler has ended."""
        self._working -= 1
        self._changed.set()

    def record(self) -> None:
        """Its outcome is recorded."""
        self._unrecorded -= 1
        self._changed.set()

    async def wait_for_free(self) -> None:
        """Wait for a free slot, and for a kind that is not paused."""
        while self.free <= 0 or not self._open:
            await self._next_change()

    async def wait_until_idle(self) -> None:
        """Wait for the last run to end."""
        while self._unrecorded:
            await self._next_change()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def make_lanes(settings: Settings, catalog: Catalog, *, quarantine: bool) -> list[Lane]:
    """The lanes of a consumer that serves the queues of its settings; in quarantine each has one slot."""
    served = [h for h in catalog.handlers.values() if settings.queues is None or h.queue in settings.queues]
    on_loop = [handler.kind for handler in served if handler.isolation == "loop"]
    in_children = [handler.kind for handler in served if handler.isolation == "process"]
    lanes = [
        Lane(on_loop, 1 if quarantine else settings.consumer_concurrency),
        Lane(in_children, 1 if quarantine else settings.child_processes, is_isolated=True),
    ]
    return [lane for lane in lanes if lane.kinds]
