"""Where the tasks of a quarantine consumer come from: suspects only (docs/decisions/0001)."""

import asyncio
import os

from app.consumer.executor import Executor
from app.consumer.fetch import Claimer
from app.consumer.heartbeat import Lease
from app.core.errors import DatabaseUnavailableError
from app.core.events import Emit
from app.db.engine import Database
from app.queue.claim import claim_suspects
from app.queue.wakeup import Wakeup

_IDLE_POLLS = 3


class QuarantineFetcher:
    """Claims suspects only, until there are none, or the consumer that started this process (a pid) is gone.

    When that is gone, also where it was before this process was there, this goes on for `drain_seconds`: where
    consumers keep dying, no suspect would ever run otherwise.
    """

    def __init__(
        self,
        database: Database,
        wakeup: Wakeup,
        executor: Executor,
        lease: Lease,
        *,
        starter: int,
        poll_seconds: float,
        drain_seconds: float,
        emit: Emit,
    ) -> None:
        self._database = database
        self._executor = executor
        self._lease = lease
        self._poll_seconds = poll_seconds
        kinds = [kind for lane in executor.lanes for kind in lane.kinds]
        self._claimer = Claimer(kinds, wakeup, executor, lease, emit)
        self._starter = starter
        self._drain_seconds = drain_seconds

    async def run(self) -> None:
        """Fetch until nothing is left, or for long enough without anybody who looks after this process."""
        ends = [asyncio.create_task(self._fetch_all()), asyncio.create_task(self._outlive_starter())]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:  # also where this is cancelled: whoever drains claims no more
                task.cancel()
        for task in done:
            task.result()

    async def _fetch_all(self) -> None:
        idle_polls = 0
        while idle_polls < _IDLE_POLLS:
            await self._lease.held.wait()
            await self._executor.wait_until_idle()  # its outcome is committed: the next may end this process
            try:
                claimed = await self._claimer.claim(lambda who: claim_suspects(self._database, who, limit=1))
            except DatabaseUnavailableError:
                continue
            if claimed:
                idle_polls = 0
            else:
                idle_polls += 1
                await asyncio.sleep(self._poll_seconds)

    async def _outlive_starter(self) -> None:
        while os.getppid() == self._starter:  # noqa: ASYNC110 - the kernel sets no event
            await asyncio.sleep(self._poll_seconds)
        await asyncio.sleep(self._drain_seconds)

    async def close(self) -> None:
        """After run(): start what a claim under way brings."""
        await self._claimer.close()
