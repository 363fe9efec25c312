"""A whole consumer in the test's own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.consumer.consumer import Consumer
from app.consumer.drain import StopRequest
from app.core.config import Settings
from app.core.events import ConsumerStarted
from app.handlers import Catalog
from tests.support.forking import fork_server
from tests.support.waiting import EventLog


@asynccontextmanager
async def consuming(settings: Settings, events: EventLog) -> AsyncIterator[None]:
    """A consumer that claims."""
    stop = StopRequest()
    consumer = asyncio.create_task(Consumer(settings, Catalog.load(settings), events, fork_server()).run(stop))
    started = asyncio.create_task(events.seen(ConsumerStarted))
    await asyncio.wait([consumer, started], return_when=asyncio.FIRST_COMPLETED)
    try:
        await started
        yield
    finally:
        stop()
        stop()
        async with asyncio.timeout(15):
            await consumer
