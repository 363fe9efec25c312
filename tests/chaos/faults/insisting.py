"""Calls whose outcome must become known."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.chaos.history import Call, Outcome

_PAUSE_SECONDS, _CERTAIN_SECONDS = 0.1, 30.0


async def insist(send: Callable[[], Awaitable[Call]]) -> Call:
    """Call until the outcome is known; the last call, which after half a minute may be unknown all the same."""
    give_up = time.monotonic() + _CERTAIN_SECONDS
    while True:
        call = await send()
        if call.outcome is not Outcome.UNKNOWN or time.monotonic() > give_up:
            return call
        await asyncio.sleep(_PAUSE_SECONDS)
