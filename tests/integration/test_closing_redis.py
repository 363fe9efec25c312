"""A Redis behind something that accepts each connection and closes it again, as load balancers do while it is away."""

import asyncio
from itertools import cycle

import pytest
import uvloop

from app.core.errors import WakeupUnavailableError
from app.queue.listen import canceled_ids

_TRIES = 400
_DELAYS = cycle(step / 10_000 for step in range(5, 20))  # until it is closed: between any two of the first writes


async def _close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(next(_DELAYS))
    writer.close()


async def _listen_in_vain() -> None:
    async with await asyncio.start_server(_close, "127.0.0.1", 0) as server:
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        for _ in range(_TRIES):
            with pytest.raises(WakeupUnavailableError):
                await anext(canceled_ids(url, lambda: None))


def test_a_connection_that_is_closed_at_any_moment_is_an_outage() -> None:
    """And nothing else: what uvloop calls a RuntimeError, once in some forty tries, ended consumers."""
    uvloop.run(_listen_in_vain())
