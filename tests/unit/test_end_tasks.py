"""Tasks end, also where a cancel was lost on its way."""

import asyncio
from contextlib import suppress

from app.utils.end_tasks import end_tasks


async def test_a_cancel_that_is_lost_is_sent_again() -> None:
    """As to a task that stands in asyncio.wait_for, of which the inner one has just ended."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    may_go_on = asyncio.Event()

    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await done
        may_go_on.set()
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(60)), asyncio.create_task(_ends())]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_tasks(tasks)
    assert may_go_on.is_set()
    assert [task.cancelled() for task in tasks] == [True, True, False]
    await end_tasks([])


async def _ends() -> None:
    pass
