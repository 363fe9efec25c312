"""Ending tasks that go on for ever."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_SECONDS = 0.05


async def end_tasks(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel them until each has ended.

    Once is not enough: where a cancel comes just as what asyncio.wait_for waits for is done, it is lost in Python 3.11,
    and redis-py sends its commands that way.
    """
    going_on = set(tasks)
    while going_on:
        for task in going_on:
            task.cancel()
        _, going_on = await asyncio.wait(going_on, timeout=_AGAIN_SECONDS)
