"""How a consumer stops: what it has claimed is finished or given back, and all is closed, each within a bound."""

import asyncio

from app.consumer.parts import Parts
from app.core.errors import DatabaseUnavailableError
from app.core.events import ConsumerDraining, ConsumerStopped, Emit, StopIncomplete
from app.queue.finish import release
from app.queue.recover import unregister

_STOP_SECONDS = 3.0  # for handlers to end once they are stopped; and again, for what they leave to be written
_QUARANTINE_SECONDS = 1.0  # to end, once it has had the time that we had


class StopRequest:
    """What signal handlers set, and nothing else."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.now = asyncio.Event()

    def __call__(self) -> None:
        """First call: drain. Second: stop now."""
        (self.now if self.drain.is_set() else self.drain).set()


async def drain(parts: Parts, stop: StopRequest, seconds: float, emit: Emit) -> None:
    """Let running tasks finish; stop those that don't in so many seconds, so that they are given back."""
    emit(ConsumerDraining(parts.executor.active))
    parts.quarantines.stop()
    now = asyncio.create_task(stop.now.wait())
    drained = asyncio.create_task(_finish_claimed(parts))
    await asyncio.wait([drained, now], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if now.done():
        parts.quarantines.stop()
    now.cancel()
    parts.executor.give_back()
    await asyncio.wait([drained], timeout=_STOP_SECONDS)
    drained.cancel()


async def close(parts: Parts, emit: Emit) -> None:
    """All of it bounded: with drain and the pool, DRAIN_SECONDS and what core/config.py calls STOP_SECONDS."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await parts.recorder.drain()
            # Handlers that would not stop. From here on what they do counts no more.
            stubborn = [(run.claim.id, run.claim.claim_id) for run in parts.executor.runs.values()]
            if stubborn:
                await release(parts.database, stubborn)
            await parts.follow_up.drain()
            await parts.toolbox.drain()
            await unregister(parts.database, parts.lease.consumer_id)
            await parts.wakeup.close()
            # One whose handler would not stop gives its suspect back only now, as we have just done with ours.
            await parts.quarantines.ended()
    except (DatabaseUnavailableError, TimeoutError) as error:
        emit(StopIncomplete(str(error)))
    # Each has a second.
    await asyncio.gather(parts.children.close(), parts.toolbox.close(), parts.quarantines.close(_QUARANTINE_SECONDS))
    parts.forks.close()
    await parts.database.close()
    emit(ConsumerStopped())


async def _finish_claimed(parts: Parts) -> None:
    for fetcher in parts.fetchers:
        await fetcher.close()
    await parts.executor.wait_until_idle()
    await parts.quarantines.ended()  # told when we were, they drain for as long as we may
