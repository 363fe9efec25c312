"""The API's event loop: many connections at once."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.api.loop import ACCEPTED_AT_ONCE, Loop
from tests.support.api import listen

_TURNS = 8  # of the loop; libuv alone would accept one in each


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that somebody else keeps open, as Supervisor does."""
    with listen() as one:
        yield one


def test_connections_that_wait_are_accepted_together(listener: socket.socket) -> None:
    """Up to ACCEPTED_AT_ONCE in a turn, so that the last of them need not wait for as many turns."""
    accepted: list[asyncio.Protocol] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, _: asyncio.BaseTransport) -> None:
            accepted.append(self)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Protocol, sock=listener)
        with ExitStack() as stack:
            for _ in range(2 * ACCEPTED_AT_ONCE):
                stack.enter_context(socket.create_connection(listener.getsockname()))
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(serve())
    assert len(accepted) == 2 * ACCEPTED_AT_ONCE


def test_what_is_being_opened_at_the_end_is_told_of_it(listener: socket.socket) -> None:
    """As those are that were there: a client that keeps its connection would keep the process for seconds."""
    told: list[asyncio.Protocol] = []

    class Protocol(asyncio.Protocol):
        def shutdown(self) -> None:
            told.append(self)

    async def serve() -> None:
        loop = asyncio.get_running_loop()

        def accepted() -> asyncio.Protocol:
            loop.call_soon(server.close)
            return Protocol()

        server = await loop.create_server(accepted, sock=listener)
        with ExitStack() as stack:
            for _ in range(ACCEPTED_AT_ONCE):
                stack.enter_context(socket.create_connection(listener.getsockname()))
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        await server.wait_closed()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(serve())
    assert len(told) == ACCEPTED_AT_ONCE - 1  # the first was accepted by libuv


def test_what_comes_after_the_end_is_left_to_others(listener: socket.socket) -> None:
    """A process that ends accepts nothing more, and the connection waits for the next one."""
    accepted: list[asyncio.Protocol] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(self)
            transport.close()

    async def serve(*, is_last: bool) -> None:
        with listener.dup() as inherited:
            server = await asyncio.get_running_loop().create_server(Protocol, sock=inherited)
            if not is_last:
                server.close()
                await server.wait_closed()
                waiting.append(socket.create_connection(listener.getsockname()))
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            server.close()
            await server.wait_closed()
        assert len(accepted) == is_last

    waiting: list[socket.socket] = []
    for is_last in (False, True):
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(serve(is_last=is_last))
    assert waiting[0].recv(1) == b""
    waiting[0].close()
