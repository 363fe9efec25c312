"""A client of server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.support.processes import Service

EVENT_SECONDS = 10.0


@dataclass(frozen=True)
class Event:
    """One event."""

    id: str
    name: str
    data: Any


class Watch:
    """An open stream."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()
        self.retry: int | None = None

    async def next(self, seconds: float = EVENT_SECONDS) -> Event | None:
        """The next event; None at the stream's end, which must be a clean one."""
        async with asyncio.timeout(seconds):
            fields: dict[str, str] = {}
            async for line in self._lines:
                if not line and "data" in fields:
                    return Event(fields["id"], fields["event"], json.loads(fields["data"]))
                name, _, value = line.partition(": ")
                fields[name] = value
                if name == "retry":
                    self.retry = int(value)
            return None

    async def rest(self, seconds: float = EVENT_SECONDS) -> list[Event]:
        """All events until the stream's end."""
        events = []
        while (event := await self.next(seconds)) is not None:
            events.append(event)
        return events

    async def until_status(self, status: str) -> Event:
        """The first event with this status."""
        while (event := await self.next()) is not None:
            if event.data["status"] == status:
                return event
        raise AssertionError(f"the stream ended before {status}")


@asynccontextmanager
async def watching(taskmill: Service, path: str, last: str | None = None) -> AsyncIterator[Watch]:
    """The stream at /task/… or /group/…."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with (
        httpx2.AsyncClient(base_url=taskmill.url, timeout=60) as client,
        client.stream("GET", f"{path}/events", headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        yield Watch(answer)
