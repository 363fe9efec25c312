"""Waiting for facts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.core.events import Event

PATIENCE_SECONDS = 30.0  # for what no test is about the speed of: the start of a process can take ten of them

EventT = TypeVar("EventT", bound=Event)


async def until(
    fact: Callable[[], Awaitable[object]], seconds: float = PATIENCE_SECONDS, every: float = 0.05, what: str = ""
) -> float:
    """Wait until the fact holds, which is `what` in words; the seconds it took. Fails when it does not in time."""
    start = time.monotonic()
    while not await fact():
        if time.monotonic() - start > seconds:
            raise AssertionError(f"not so after {seconds} s: {what or getattr(fact, '__doc__', None) or fact}")
        await asyncio.sleep(every)
    return time.monotonic() - start


class EventLog:
    """Collects what the code under test emits. Use it as the `emit` of anything."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._arrived = asyncio.Event()

    def __call__(self, event: Event) -> None:
        """Emit."""
        self.events.append(event)
        self._arrived.set()

    def of(self, kind: type[EventT]) -> list[EventT]:
        """The events of this type so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def seen(
        self, kind: type[EventT], matches: Callable[[EventT], bool] = lambda _: True, seconds: float = PATIENCE_SECONDS
    ) -> EventT:
        """Wait for an event of this type that matches, past or to come."""
        async with asyncio.timeout(seconds):
            while True:
                for event in self.of(kind):
                    if matches(event):
                        return event
                self._arrived.clear()
                await self._arrived.wait()
