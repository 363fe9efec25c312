"""The API's event loop: uvloop, which takes all the connections that wait, not one each time round.

libuv accepts one connection a turn, and a turn takes as long as all requests that have come. Of many connections that
are opened at once the last would wait for a second, while those before it are served the faster (docs/performance.md).
So whenever libuv has accepted one, the others that wait are accepted here.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvloop

ACCEPTED_AT_ONCE = 32  # the rest are left for the next turn, and for other processes that listen


class Loop(uvloop.Loop):
    """uvicorn makes one: `--loop app.api.loop:Loop`."""

    async def create_server(  # type: ignore[override]  # only what uvicorn asks for
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], *, sock: socket.socket, **options: Any
    ) -> asyncio.AbstractServer:
        """Listen on a socket that is bound."""
        sock.setblocking(False)
        opening: set[asyncio.Task[Any]] = set()

        def accepted() -> asyncio.BaseProtocol:
            for _ in range(ACCEPTED_AT_ONCE - 1):
                try:
                    connection, _address = sock.accept()
                except OSError:  # none waits; or there is no descriptor left for it, which libuv will see as well
                    break
                connection.setblocking(False)
                task = self.create_task(self.connect_accepted_socket(protocol_factory, connection))
                opening.add(task)
                task.add_done_callback(opening.discard)
            return protocol_factory()

        return await super().create_server(accepted, sock=sock, **options)
