"""Tells whoever watches which tasks and groups have changed: hints only, all of which may be lost."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from uuid import UUID

CHANNEL = "taskmill:changed"
SIZE = 16  # bytes of an id; a message is ids, one after the other

_PAUSE_SECONDS = 0.01
_UNHEARD_PAUSE_SECONDS = 0.05


class Changes:
    """Gathers ids, and publishes them: the first at once, what comes soon after it as one message.

    The pauses bound what it costs, however many claims and finishes there are: a hundred messages a second, and twenty
    while nobody listens, which the answer to the last message tells.
    """

    def __init__(self, publish: Callable[[bytes], Awaitable[int]]) -> None:
        self._publish = publish
        self._ids: list[UUID] = []
        self._telling: asyncio.Task[None] | None = None

    def add(self, ids: Iterable[UUID]) -> None:
        """These have changed, and the change is committed. Returns at once."""
        self._ids.extend(ids)
        if self._telling is None and self._ids:
            self._telling = asyncio.create_task(self._tell())

    async def drain(self) -> None:
        """Return when everything is told, or can't be."""
        while self._telling is not None:
            await asyncio.wait([self._telling])

    async def _tell(self) -> None:
        try:
            while self._ids:
                ids, self._ids = self._ids, []
                listeners = await self._publish(b"".join([changed.bytes for changed in ids]))
                await asyncio.sleep(_PAUSE_SECONDS if listeners else _UNHEARD_PAUSE_SECONDS)
        finally:
            self._telling = None


def ids_in(message: bytes) -> Iterable[bytes]:
    """The ids in a message, as bytes. Anybody may have written there; what is no id is found nowhere."""
    return (message[start : start + SIZE] for start in range(0, len(message), SIZE))
