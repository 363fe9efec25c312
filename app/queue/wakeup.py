"""Redis: lists of ids that wake consumers, channels of cancels and of changes. Hints only: all of it may be lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Any, cast
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.core.errors import WakeupUnavailableError
from app.core.events import Emit
from app.core.outage import Outage
from app.core.task import Hint, Priority, SameHints
from app.queue import changes
from app.utils.batcher import Batcher

LISTS = "taskmill:pending"
CHANNEL = "taskmill:canceled"

CALL_SECONDS = 1.0
SILENCE_SECONDS = 0.5  # after a failure nothing is sent for so long: PostgreSQL holds all that the hints say
_LISTEN_SECONDS = 5.0
_WATCH_SECONDS = 0.5  # of a server that hangs, those who watch tasks hear that much sooner
_BATCH = 100  # groups of ids in one command
_BACKLOG = 1_000  # groups above this are dropped rather than kept in memory; polls find their tasks

_TROUBLE = (RedisError, OSError, TimeoutError)


class Wakeup:
    """One process's way to Redis. Nothing here ever makes a request fail or wait."""

    def __init__(self, url: str, emit: Emit) -> None:
        self._url = url
        self._client = self._connect(CALL_SECONDS)
        self._blocking: Redis | None = None
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
            # A connection of its own, since its answer may take that long: redis-py's default would give up first.
            self._blocking = self._blocking or self._connect(seconds + CALL_SECONDS)
            call = self._blocking.blmpop(seconds, len(lists), *lists, direction="LEFT", count=limit)
            answer = await cast("Awaitable[Any]", call)
            return [Hint(task_id, *lists[answer[0].decode()]) for task_id in _ids(answer[1])] if answer else []
        except (*_TROUBLE, LookupError, TypeError) as error:
            raise WakeupUnavailableError(str(error)) from error

    async def canceled(self, on_listening: Callable[[], None] | None = None) -> AsyncIterator[UUID]:
        """Ids of canceled tasks as they are announced. Raises WakeupUnavailableError when the subscription breaks."""
        async for message in self._listen(CHANNEL, _LISTEN_SECONDS, on_listening):
            for task_id in _ids(message.split(b",")):
                yield task_id

    def changed(self, on_listening: Callable[[], None]) -> AsyncIterator[bytes]:
        """Messages of queue/changes.py as they come. Raises as canceled, soon after Redis is gone or hangs."""
        return self._listen(changes.CHANNEL, _WATCH_SECONDS, on_listening)

    async def _listen(
        self, channel: str, seconds: float, on_listening: Callable[[], None] | None
    ) -> AsyncIterator[bytes]:
        """Messages of a channel. After `seconds` of silence, and again as many without an answer, it is broken."""
        client = self._connect(seconds + CALL_SECONDS)
        try:
            async with aclosing(client), client.pubsub() as subscription:
                await subscription.subscribe(channel)
                is_pinged = False
                while True:
                    message = await subscription.get_message(timeout=seconds)
                    if message is None and is_pinged:
                        raise WakeupUnavailableError("no answer to a ping")
                    is_pinged = message is None
                    if message is None:
                        await subscription.ping()  # silence is usual; whether somebody is there, the answer tells
                    elif message["type"] == "subscribe" and on_listening:
                        on_listening()
                    elif message["type"] == "message":
                        yield message["data"]
        except (*_TROUBLE, LookupError, TypeError) as error:
            raise WakeupUnavailableError(str(error)) from error

    async def ping(self) -> None:
        """Raises WakeupUnavailableError with the reason where Redis does not answer."""
        try:
            await cast("Awaitable[Any]", self._client.ping())
        except _TROUBLE as error:
            raise WakeupUnavailableError(str(error)) from error

    async def close(self) -> None:
        """Send what is still waiting, and close the connections."""
        await self._pushes.drain()
        await self._drops.drain()
        await self._cancels.drain()
        await self._changes.drain()
        for client in (self._client, self._blocking):
            if client is not None:
                await client.aclose()

    async def _push(self, groups: list[Sequence[Hint] | SameHints]) -> list[None]:
        lists: dict[tuple[int, str], list[str]] = {}
        for group in groups:
            if isinstance(group, SameHints):
                lists.setdefault((group.priority, group.kind), []).extend(group.ids)
                continue
            for hint in group:
                lists.setdefault((hint.priority, hint.kind), []).append(str(hint.id))

        async def push_all() -> None:
            for (priority, kind), ids in lists.items():
                await cast("Awaitable[Any]", self._client.rpush(list_name(priority, kind), *ids))

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
        await self._send(lambda: cast("Awaitable[Any]", self._client.publish(CHANNEL, message)))
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
            await command()
            self._outage.end()
        except _TROUBLE as error:
            self._silent_until = time.monotonic() + SILENCE_SECONDS
            self._outage.begin(error)

    def _connect(self, seconds: float) -> Redis:
        # redis-py retries by itself, ten times, also what is not idempotent: one RPUSH became four. Never here.
        return Redis.from_url(
            self._url, socket_timeout=seconds, socket_connect_timeout=CALL_SECONDS, retry=Retry(NoBackoff(), 0)
        )


def list_name(priority: int, kind: str) -> str:
    """The list of ids of these tasks. A consumer that serves only some kinds takes no other's ids."""
    return f"{LISTS}:{Priority(priority).name.lower()}:{kind}"


def _ids(raw: Iterable[bytes]) -> list[UUID]:
    """The ids among what was read. Anybody may have written there; what is no id is a hint of nothing."""
    ids = []
    for text in raw:
        with suppress(ValueError):
            ids.append(UUID(text.decode()))
    return ids


async def stay_subscribed(wakeup: Wakeup, emit: Emit, on_canceled: Callable[[UUID], None]) -> None:
    """Call `on_canceled` for each announced id, for ever; subscribe again after each outage."""
    outage = Outage(emit, "redis", "listening for cancels")
    while True:
        try:
            async for task_id in wakeup.canceled(outage.end):
                on_canceled(task_id)
        except WakeupUnavailableError as error:
            outage.begin(error)
        await asyncio.sleep(SILENCE_SECONDS)
