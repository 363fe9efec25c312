"""Listen to Redis: what was canceled, and what has changed. Messages that are lost are made good by polls."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, suppress
from uuid import UUID

from app.core.errors import WakeupUnavailableError
from app.core.events import Emit
from app.core.outage import Outage
from app.queue import changes
from app.queue.redis_client import CALL_SECONDS, SILENCE_SECONDS, TROUBLE, connect

CANCELED = "taskmill:canceled"

_LISTEN_SECONDS = 5.0
_WATCH_SECONDS = 0.5  # of a server that hangs, those who watch tasks hear that much sooner


async def canceled_ids(url: str, on_listening: Callable[[], None]) -> AsyncIterator[UUID]:
    """Ids of canceled tasks as they are announced. Raises WakeupUnavailableError when the subscription breaks."""
    async for message in _messages(url, CANCELED, _LISTEN_SECONDS, on_listening):
        for task_id in parse_ids(message.split(b",")):
            yield task_id


def changed_ids(url: str, on_listening: Callable[[], None]) -> AsyncIterator[bytes]:
    """Messages of queue/changes.py as they come. Raises as canceled_ids, soon after Redis is gone or hangs."""
    return _messages(url, changes.CHANNEL, _WATCH_SECONDS, on_listening)


async def stay_subscribed(url: str, emit: Emit, on_canceled: Callable[[UUID], None]) -> None:
    """Call `on_canceled` for each announced id, for ever; subscribe again after each outage."""
    outage = Outage(emit, "redis", "listening for cancels")
    while True:
        try:
            async for task_id in canceled_ids(url, outage.end):
                on_canceled(task_id)
        except WakeupUnavailableError as error:
            outage.begin(error)
        await asyncio.sleep(SILENCE_SECONDS)


def parse_ids(raw: Iterable[bytes]) -> list[UUID]:
    """The ids among what was read. Anybody may have written there; what is no id is a hint of nothing."""
    ids = []
    for text in raw:
        with suppress(ValueError):
            ids.append(UUID(text.decode()))
    return ids


async def _messages(url: str, channel: str, seconds: float, on_listening: Callable[[], None]) -> AsyncIterator[bytes]:
    """Messages of a channel. After `seconds` of silence, and again as many without an answer, it is broken."""
    client = connect(url, seconds + CALL_SECONDS)
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
                elif message["type"] == "subscribe":
                    on_listening()
                elif message["type"] == "message":
                    yield message["data"]
    except (*TROUBLE, LookupError, TypeError) as error:
        raise WakeupUnavailableError(str(error)) from error
