"""How many requests a minute each key may make: counted in Redis for all processes, in this one while Redis is away.

GCRA, the token bucket that is kept as one number: the time at which the bucket would be full, and which each request
moves on by 1/limit of a minute. A bucket holds a minute's requests, so that many may come at once, and then one each
1/limit of a minute. Requests that are refused cost nothing.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from app.core.events import Emit, LimitedAlone
from app.core.outage import Outage
from app.queue.redis_client import CALL_SECONDS, SILENCE_SECONDS, TROUBLE, connect
from app.utils.batcher import Batcher

BUCKETS = "taskmill:rate"
WINDOW = 60.0  # seconds in which a bucket fills up
PATIENCE_SECONDS = 0.02  # that a request waits for Redis; then its process decides
_BATCH = 1_000
_MOST_BUCKETS = 10_000  # kept for an outage; there are far fewer keys

_TROUBLE = (*TROUBLE, LookupError, TypeError, ValueError)

# KEYS: buckets. ARGV: for each, its limit and how many requests want to pass. The answer: for each, how many may, and
# the microseconds' worth of requests that are left. By the clock of Redis: those of the processes may differ.
_TAKE = """
local clock = redis.call('TIME')
local now, window, answer = clock[1] * 1000000 + clock[2], 60000000, {}
for i, bucket in ipairs(KEYS) do
  local limit, wanted = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local full = tonumber(redis.call('GET', bucket) or now)
  full = math.min(math.max(full, now), now + window)
  local granted = math.min(wanted, math.floor((now + window - full) * limit / window + 0.001))
  if granted > 0 then
    full = full + granted * window / limit
    redis.call('SET', bucket, string.format('%.3f', full), 'PX', math.ceil((full - now) / 1000) + 1000)
  end
  answer[2 * i - 1], answer[2 * i] = granted, math.floor(now + window - full)
end
return answer
"""


class Taken(NamedTuple):
    """What became of a request. `left`: that may follow at once; one more than that, after `seconds` (1 or more)."""

    is_allowed: bool
    left: int
    seconds: int


class RateLimiter:
    """One process's way to the buckets. Nothing here ever makes a request fail, or wait for long."""

    def __init__(self, url: str, emit: Emit) -> None:
        self._emit = emit
        self._client = connect(url, CALL_SECONDS)
        self._outage = Outage(emit, "redis", "limiting rates")
        self._silent_until = 0.0
        self._full_at: dict[str, float] = {}  # by this process's clock; what Redis said last, or what we count
        self._late: asyncio.Task[list[int] | None] | None = None
        self._calls: Batcher[tuple[str, int], Taken] = Batcher(self._take, _BATCH)

    async def take(self, name: str, limit: int) -> Taken:
        """Whether a request of this name may pass; `limit` is above 0."""
        if self._is_away():
            return self._take_here([(name, limit)])[0]
        return await self._calls.submit((name, limit))

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.drain()
        if self._late is not None:
            await asyncio.wait([self._late])
        await self._client.aclose()

    def _is_away(self) -> bool:
        return self._late is not None or time.monotonic() < self._silent_until

    async def _take(self, requests: list[tuple[str, int]]) -> Sequence[Taken]:
        wanted: dict[tuple[str, int], int] = {}
        for request in requests:
            wanted[request] = wanted.get(request, 0) + 1
        if not self._is_away():
            call = asyncio.create_task(self._ask(wanted))
            for _ in range(2):  # the first half may go by while this process is busy itself, and not Redis
                await asyncio.wait([call], timeout=PATIENCE_SECONDS / 2)
            if not call.done():
                # It goes on, since what it takes is taken; until it is done, nobody waits for another.
                self._late = call
                call.add_done_callback(self._no_longer_late)
            elif (answer := call.result()) is not None:
                granted = dict(zip(wanted, answer[::2], strict=True))
                return self._share_out(requests, granted)
        return self._take_here(requests)

    async def _ask(self, wanted: dict[tuple[str, int], int]) -> list[int] | None:
        """The script's answer, put down for an outage as well; None where there is none."""
        buckets = [f"{BUCKETS}:{name}" for name, _ in wanted]
        arguments = [number for (_, limit), count in wanted.items() for number in (limit, count)]
        try:
            call = self._client.eval(_TAKE, len(buckets), *buckets, *arguments)
            answer: list[int] = [int(number) for number in await call]
            now = time.monotonic()
            for (name, _), room in zip(wanted, answer[1::2], strict=True):
                self._full_at[name] = now + WINDOW - room / 1e6
        except _TROUBLE as error:
            self._silent_until = time.monotonic() + SILENCE_SECONDS
            self._outage.begin(error)
            return None
        self._outage.end()
        return answer

    def _no_longer_late(self, _: object) -> None:
        self._late = None

    def _take_here(self, requests: Sequence[tuple[str, int]]) -> list[Taken]:
        """What the script does, for this process alone."""
        self._emit(LimitedAlone(len(requests)))
        now = time.monotonic()
        if len(self._full_at) > _MOST_BUCKETS:
            self._full_at = {name: full for name, full in self._full_at.items() if full > now}
        taken = []
        for name, limit in requests:
            full = min(max(self._full_at.get(name, now), now), now + WINDOW)
            is_allowed = (now + WINDOW - full) * limit / WINDOW + 0.001 >= 1
            if is_allowed:
                full += WINDOW / limit
            self._full_at[name] = full
            taken.append(_taken(now + WINDOW - full, limit, is_allowed=is_allowed))
        return taken

    def _share_out(self, requests: Sequence[tuple[str, int]], granted: dict[tuple[str, int], int]) -> list[Taken]:
        """Each request's part in what was granted to all of them: the first ones pass."""
        now = time.monotonic()
        taken = []
        for request in requests:
            name, limit = request
            granted[request] -= 1
            behind = max(granted[request], 0)  # pass as well, so it is theirs that was left when this one passed
            room = now + WINDOW - self._full_at[name] + behind * WINDOW / limit
            taken.append(_taken(room, limit, is_allowed=granted[request] >= 0))
        return taken


def _taken(room: float, limit: int, *, is_allowed: bool) -> Taken:
    """`room`: the seconds' worth of requests that are left."""
    left = room * limit / WINDOW + 0.001
    whole = max(int(left), 0) if is_allowed else 0
    seconds = (whole + 1 - left) * WINDOW / limit
    return Taken(is_allowed, whole, max(1, -int(-seconds // 1)))
