"""Where the tasks of a quarantine consumer come from: suspects only (docs/decisions/0001)."""

import asyncio

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
    """Claims suspects only, until there are none."""

    def __init__(
        self,
        database: Database,
        wakeup: Wakeup,
        executor: Executor,
        lease: Lease,
        *,
        poll_seconds: float,
        emit: Emit,
    ) -> None:
        self._database = database
        self._executor = executor
        self._lease = lease
        self._poll_seconds = poll_seconds
        kinds = [kind for lane in executor.lanes for kind in lane.kinds]
        self._claimer = Claimer(kinds, wakeup, executor, lease, emit)

    async def run(self) -> None:
        """Fetch until nothing is left."""
        idle_polls = 0
        while idle_polls < _IDLE_POLLS:
            await self._executor.wait_until_idle()  # its outcome is committed: the next may end this process
            await self._lease.held.wait()
            try:
                claimed = await self._claimer.claim(lambda who: claim_suspects(self._database, who, limit=1))
            except DatabaseUnavailableError:
                continue
            if claimed:
                idle_polls = 0
            else:
                idle_polls += 1
                await asyncio.sleep(self._poll_seconds)

    async def close(self) -> None:
        """After run(): start what a claim under way brings."""
        await self._claimer.close()
