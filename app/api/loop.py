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
        self, protocol_factory: Callable[[], Any], *, sock: socket.socket, **options: Any
    ) -> asyncio.AbstractServer:
        """Listen on a socket that is bound. The protocols are uvicorn's, which can be told to shut down."""
        sock.setblocking(False)
        server: asyncio.AbstractServer | None = None
        opening: set[asyncio.Task[None]] = set()

        async def open_connection(connection: socket.socket) -> None:
            connection.setblocking(False)
            _, protocol = await self.connect_accepted_socket(protocol_factory, connection)
            if server is not None and not server.is_serving():
                protocol.shutdown()  # as uvicorn has told those that were there when it closed the server

        def accepted() -> Any:
            for _ in range(ACCEPTED_AT_ONCE - 1):
                try:
                    connection, _address = sock.accept()
                except OSError:  # none waits; or there is no descriptor left for it, which libuv will see as well
                    break
                task = self.create_task(open_connection(connection))
                opening.add(task)
                task.add_done_callback(opening.discard)
            return protocol_factory()

        server = await super().create_server(accepted, sock=sock, **options)
        return server
