"""Redis: lists of ids that wake consumers, channels of cancels and of changes. Hints only: all of it may be lost."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, cast
from uuid import UUID

from app.core.errors import WakeupUnavailableError
from app.core.events import Emit
from app.core.outage import Outage
from app.core.task import Hint, Priority, SameHints
from app.queue import changes
from app.queue.listen import CANCELED, changed_ids, parse_ids
from app.queue.redis_client import CALL_SECONDS, SILENCE_SECONDS, TROUBLE, answered_within, connect
from app.utils.batcher import Batcher

LISTS = "taskmill:pending"

_BATCH = 100  # groups of ids in one command
_LONGEST_LIST = 100_000  # ids of a kind that nobody takes, as of a paused queue; polls find the tasks of the others
_BACKLOG = 1_000  # groups above this are dropped rather than kept in memory; polls find their tasks


class Wakeup:
    """One process's way to Redis. Nothing here ever makes a request fail or wait."""

    def __init__(self, url: str, emit: Emit) -> None:
        self._url = url
        self._client = connect(url)
        self._blocking = connect(url)  # whoever waits for ids holds its connection for a second at a time
        self._outage = Outage(emit, "redis", "waking consumers")
        self._silent_until = 0.0
        self._pushes: Batcher[Sequence[Hint] | SameHints, None] = Batcher(self._push, _BATCH)
        self._drops: Batcher[tuple[Sequence[tuple[int, str]], int], None] = Batcher(self._drop, _BATCH)
        self._cancels: Batcher[Sequence[UUID], None] = Batcher(self._publish, _BATCH)
        self._changes = changes.Changes(self._publish_changes)

    def push(self, hints: Sequence[Hint]) -> None:
        """Announce pending tasks. Returns at once; failures are logged once an outage."""
        if hints and len(self._pushes) < _BACKLOG:
            self._pushes.submit(hints)

    def push_all(self, hints: SameHints) -> None:
        """The same for many tasks of one kind."""
        if hints.ids and len(self._pushes) < _BACKLOG:
            self._pushes.submit(hints)

    def drop(self, wanted: Sequence[tuple[int, str]], count: int) -> None:
        """Forget as many ids as `pop` would take. Returns at once."""
        self._drops.submit((wanted, count))

    def announce_canceled(self, ids: Sequence[UUID]) -> None:
        """Tell whoever runs these tasks to stop. Returns at once."""
        if ids:
            self._cancels.submit(ids)

    def announce_changed(self, ids: Iterable[UUID]) -> None:
        """Tell whoever watches these tasks and groups that there is something new. Returns at once."""
        self._changes.add(ids)

    async def pop(self, wanted: Sequence[tuple[int, str]], limit: int, seconds: float) -> list[Hint]:
        """Up to `limit` ids of the first of these (priority, kind) that has any, waiting up to `seconds` for one.

        Never cancel this: a pop whose answer nobody reads has still taken the ids. Raises WakeupUnavailableError.
        """
        lists = {list_name(priority, kind): (kind, priority) for priority, kind in wanted}
        try:
            async with answered_within(seconds + CALL_SECONDS):
                call = self._blocking.blmpop(seconds, len(lists), *lists, direction="LEFT", count=limit)
                answer = await cast("Awaitable[Any]", call)
            return [Hint(task_id, *lists[answer[0].decode()]) for task_id in parse_ids(answer[1])] if answer else []
        except (*TROUBLE, LookupError, TypeError) as error:
            raise WakeupUnavailableError(str(error)) from error

    def changed(self, on_listening: Callable[[], None]) -> AsyncIterator[bytes]:
        """As listen.changed_ids."""
        return changed_ids(self._url, on_listening)

    async def ping(self) -> None:
        """Raises WakeupUnavailableError with the reason where Redis does not answer."""
        try:
            async with answered_within(CALL_SECONDS):
                await cast("Awaitable[Any]", self._client.ping())
        except TROUBLE as error:
            raise WakeupUnavailableError(str(error)) from error

    async def close(self) -> None:
        """Send what is still waiting, and close the connections."""
        await self._pushes.drain()
        await self._drops.drain()
        await self._cancels.drain()
        await self._changes.drain()
        for client in (self._client, self._blocking):
            await client.aclose()

    async def _push(self, groups: list[Sequence[Hint] | SameHints]) -> list[None]:
        lists: dict[tuple[int, str], list[str | bytes]] = {}
        for group in groups:
            if isinstance(group, SameHints):
                # Bytes redis-py takes as they are.
                lists.setdefault((group.priority, group.kind), []).extend([task_id.encode() for task_id in group.ids])
                continue
            for hint in group:
                lists.setdefault((hint.priority, hint.kind), []).append(str(hint.id))

        async def push_all() -> None:
            for (priority, kind), ids in lists.items():
                name = list_name(priority, kind)
                if await self._client.rpush(name, *ids) > _LONGEST_LIST:
                    await cast("Awaitable[Any]", self._client.ltrim(name, 0, _LONGEST_LIST - 1))

        await self._send(push_all)
        return [None] * len(groups)

    async def _drop(self, drops: list[tuple[Sequence[tuple[int, str]], int]]) -> list[None]:
        async def drop_all() -> None:
            for wanted, count in drops:
                lists = [list_name(priority, kind) for priority, kind in wanted]
                await cast("Awaitable[Any]", self._client.lmpop(len(lists), *lists, direction="LEFT", count=count))

        await self._send(drop_all)
        return [None] * len(drops)

    async def _publish(self, groups: list[Sequence[UUID]]) -> list[None]:
        message = ",".join(str(task_id) for group in groups for task_id in group)
        await self._send(lambda: cast("Awaitable[Any]", self._client.publish(CANCELED, message)))
        return [None] * len(groups)

    async def _publish_changes(self, message: bytes) -> int:
        listeners = 0

        async def publish() -> None:
            nonlocal listeners
            listeners = await self._client.publish(changes.CHANNEL, message)

        await self._send(publish)
        return listeners

    async def _send(self, command: Callable[[], Awaitable[Any]]) -> None:
        if time.monotonic() < self._silent_until:
            return
        try:
            async with answered_within(CALL_SECONDS):
                await command()
            self._outage.end()
        except TROUBLE as error:
            self._silent_until = time.monotonic() + SILENCE_SECONDS
            self._outage.begin(error)


def list_name(priority: int, kind: str) -> str:
    """The list of ids of these tasks. A consumer that serves only some kinds takes no other's ids."""
    return f"{LISTS}:{Priority(priority).name.lower()}:{kind}"
