"""The API's event loop: uvloop, which takes all the connections that wait, not one each time round.

libuv accepts one connection a turn, and a turn takes as long as all requests that have come. Of many connections that
are opened at once the last would wait for a second, while those before it are served the faster (docs/performance.md).
So it listens on several duplicates of the socket, each of which accepts one a turn.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

ACCEPTED_AT_ONCE = 32


class Loop(uvloop.Loop):
    """uvicorn makes one: `--loop app.api.loop:Loop`."""

    async def create_server(  # type: ignore[override]  # only what uvicorn asks for
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], *, sock: socket.socket, **options: Any
    ) -> "Servers":
        """Listen on a socket that is bound."""
        sockets = [sock, *(sock.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]
        listen = super().create_server
        return Servers(sockets, [await listen(protocol_factory, sock=one, **options) for one in sockets])


class Servers:
    """What uvicorn uses of asyncio.Server."""

    def __init__(self, sockets: Sequence[socket.socket], servers: Sequence[asyncio.AbstractServer]) -> None:
        self.sockets = sockets
        self._servers = servers

    def close(self) -> None:
        """Accept no more."""
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Until what it has accepted has closed as well."""
        for server in self._servers:
            await server.wait_closed()
