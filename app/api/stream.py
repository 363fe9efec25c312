"""An answer in pieces, for as long as its client stays."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from starlette.types import Receive, Send

SEND_SECONDS = 30.0  # for a client that does not read


class Stream(ABC):
    """What an endpoint may return in place of a body. Whoever sends it closes it."""

    headers: Sequence[tuple[bytes, bytes]]

    @abstractmethod
    async def next(self) -> bytes | None:
        """The next piece, once there is one; None at the end."""

    @abstractmethod
    def leave(self) -> None:
        """The client has gone: next() comes to its end."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds."""


async def send_stream(stream: Stream, receive: Receive, send: Send) -> None:
    """Send it to its end, with status 200, or until the client is gone, or has not read for too long."""
    try:
        with on_disconnect(receive, stream.leave):
            await send({"type": "http.response.start", "status": 200, "headers": [*stream.headers]})
            while (piece := await stream.next()) is not None:
                async with asyncio.timeout(SEND_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
    except TimeoutError:
        pass  # the server closes the connection of an answer that has no end
    finally:
        stream.close()


@contextmanager
def on_disconnect(receive: Receive, call: Callable[[], None]) -> Iterator[None]:
    """Call as soon as the client has gone. What it still sends is thrown away."""

    async def disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        call()

    listening = asyncio.create_task(disconnect())
    try:
        yield
    finally:
        listening.cancel()
