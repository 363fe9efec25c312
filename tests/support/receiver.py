"""A web service that tasks of kind `http` call: says what it is told to, and remembers what it heard."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Heard:
    """A request, as it came. `target`: the path and the query, undecoded."""

    method: str
    target: str
    headers: "CIMultiDict[str]"
    body: bytes


class Receiver:
    """Answers by `answer`, which may be exchanged at any time; 200 and `ok` to begin with."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answer: Answer = answering(text="ok")
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        heard = Heard(request.method, request.raw_path, CIMultiDict(request.headers), await request.read())
        self.heard.append(heard)
        return await self.answer(request)


def answering(status: int = 200, **response: Any) -> Answer:
    """The same answer to every request; the rest as in aiohttp's web.Response."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, **response)

    return answer


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on 127.0.0.1."""
    receiver = Receiver()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", receiver._handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()
