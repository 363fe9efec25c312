"""Where a consumer's tasks come from: ids from Redis, and what is due in PostgreSQL."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from app.consumer.executor import Executor
from app.consumer.heartbeat import Lease
from app.consumer.lane import Lane
from app.consumer.run import StopReason
from app.core.errors import DatabaseUnavailableError, WakeupUnavailableError
from app.core.events import Emit, TasksClaimed
from app.core.outage import Outage
from app.core.task import Claim, Hint
from app.db.engine import Database
from app.queue.claim import Claimant, claim_due, claim_ids
from app.queue.wakeup import Wakeup

_POP_SECONDS = 1.0
_LARGEST_CLAIM = 500  # tasks in one statement: larger batches gain nothing, and each comes with its content
_RETRY_PAUSE_SECONDS = 0.2
_DOUBT_SECONDS = 30.0  # longer than any statement may run on the server


class Claimer:
    """Runs claim statements so that none is ever cancelled: its answer says what is ours."""

    def __init__(self, kinds: Sequence[str], wakeup: Wakeup, executor: Executor, lease: Lease, emit: Emit) -> None:
        self._wakeup = wakeup
        self._executor = executor
        self._lease = lease
        self._who = Claimant(lease.consumer_id, kinds)
        self._emit = emit
        self._outage = Outage(emit, "postgresql", "claiming tasks")
        self._claiming: asyncio.Task[int] | None = None

    async def claim(self, statement: Callable[[Claimant], Awaitable[list[Claim]]]) -> int:
        """Claim and start; how many. Raises DatabaseUnavailableError after a pause."""
        self._claiming = asyncio.create_task(self._claim(statement))
        try:
            count = await asyncio.shield(self._claiming)
        except DatabaseUnavailableError as error:
            self._outage.begin(error)
            await asyncio.sleep(_RETRY_PAUSE_SECONDS)
            raise
        self._outage.end()
        return count

    async def close(self) -> None:
        """Wait for a claim that is under way."""
        if self._claiming is not None:
            await asyncio.wait([self._claiming])

    async def _claim(self, statement: Callable[[Claimant], Awaitable[list[Claim]]]) -> int:
        async with self._lease.claiming:
            try:
                claims = await statement(self._who)
            except BaseException:
                self._lease.is_settled = False
                self._lease.doubt_until = time.monotonic() + _DOUBT_SECONDS
                raise
            for claim in claims:
                self._lease.is_settled = False
                self._executor.start(claim)
            if not self._lease.held.is_set():  # it lapsed while the statement was under way: these are stopped, too
                self._executor.stop_all(StopReason.RELEASED)
        if claims:
            ids = [claim.id for claim in claims]
            self._wakeup.announce_changed((*ids, *{claim.group_id for claim in claims if claim.group_id is not None}))
            self._emit(TasksClaimed(ids))
        return len(claims)


class Fetcher:
    """Claims what the free slots of a lane can start now.

    Two sources: the lists in Redis, at once; and every `poll_seconds` the rows that have been due longest, which finds
    whatever no id announced. While a poll fills every slot, polls follow one another: they take a backlog in its order,
    which is that of the lists too, so as many ids as they claim are dropped unread.
    """

    def __init__(
        self,
        lane: Lane,
        database: Database,
        wakeup: Wakeup,
        executor: Executor,
        lease: Lease,
        *,
        poll_seconds: float,
        emit: Emit,
    ) -> None:
        self._lane = lane
        self._database = database
        self._wakeup = wakeup
        self._lease = lease
        self._poll_seconds = poll_seconds
        self._claimer = Claimer(lane.kinds, wakeup, executor, lease, emit)
        self._outage = Outage(emit, "redis", "fetching ids")
        self._largest_claim = _LARGEST_CLAIM
        self._next_poll = 0.0
        self._poll_was_full = False
        self._pop: asyncio.Task[list[Hint]] | None = None
        self._hints: list[Hint] = []

    async def run(self) -> None:
        """Fetch until cancelled."""
        while True:
            await self._lane.wait_for_free()
            await self._lease.held.wait()
            try:
                if _now() >= self._next_poll:
                    await self._poll()
                if not self._poll_was_full:
                    await self._take_hints()
            except DatabaseUnavailableError:
                self._next_poll = 0.0  # what was popped meanwhile is found by the first poll that gets through
                self._largest_claim = max(1, self._largest_claim // 2)  # it may have been too much to come in time
            else:
                self._largest_claim = min(_LARGEST_CLAIM, 2 * self._largest_claim)

    async def close(self) -> None:
        """After run(): start what a claim under way brings, and give back ids that were popped in vain."""
        await self._claimer.close()
        if self._pop is not None:
            with suppress(WakeupUnavailableError):  # then polls find the tasks
                self._hints += await self._pop
        self._wakeup.push(self._hints)

    async def _poll(self) -> None:
        wanted = min(self._lane.free, self._largest_claim)
        claimed = await self._claimer.claim(lambda who: claim_due(self._database, who, wanted, self._lane.wanted()))
        self._poll_was_full = 0 < claimed == wanted
        if self._poll_was_full:
            self._wakeup.drop(self._lane.wanted(), claimed)
        self._next_poll = 0.0 if self._poll_was_full else _jittered(self._poll_seconds)

    async def _take_hints(self) -> None:
        wanted = min(self._lane.free, self._largest_claim)
        if wanted <= 0 or not self._lane.wanted():  # paused meanwhile
            return
        if not self._hints:
            self._hints = await self._pop_hints(wanted)
        await self._lease.held.wait()  # it may have lapsed meanwhile
        ids, self._hints = [hint.id for hint in self._hints[:wanted]], self._hints[wanted:]
        if ids:
            claimed = await self._claimer.claim(lambda who: claim_ids(self._database, who, ids))
            if claimed < len(ids):
                self._next_poll = 0.0  # old news: what is due now may be far behind it in the list

    async def _pop_hints(self, limit: int) -> list[Hint]:
        """Ids from Redis, none when the next poll comes first. The pop is never cancelled, only left to end."""
        if self._pop is None:
            self._pop = asyncio.create_task(self._wakeup.pop(self._lane.wanted(), limit, _POP_SECONDS))
        await asyncio.wait([self._pop], timeout=max(0.0, self._next_poll - _now()))
        if not self._pop.done():
            return []
        pop, self._pop = self._pop, None
        try:
            hints = pop.result()
        except WakeupUnavailableError as error:
            if not self._outage.is_on:
                self._next_poll = 0.0  # ids may have been lost with the answer
            else:
                await asyncio.sleep(max(0.0, self._next_poll - _now()))
            self._outage.begin(error)
            return []
        self._outage.end()
        return hints


def _now() -> float:
    return asyncio.get_running_loop().time()


def _jittered(seconds: float) -> float:
    return _now() + seconds * random.uniform(0.8, 1.1)  # noqa: S311 - spreads the load of many consumers
