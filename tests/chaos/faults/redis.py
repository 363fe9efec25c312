"""Redis dies, forgets, or stays away: hints are lost, and nothing else."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from random import Random

from redis.asyncio import Redis

from app.queue.wakeup import LISTS
from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.insisting import insist
from tests.chaos.probe import START_SECONDS, Probe
from tests.chaos.recovery import ended
from tests.chaos.scene import POLL_SECONDS, Scene
from tests.chaos.spread import quantile, spread
from tests.support.types import Connection

BASELINE_SECONDS = 4.0
MORE_SECONDS = 2.0  # than without the fault, a task may wait
_JITTER, _MEASURE_SECONDS = 1.1, 0.25  # of polls; for their statement, and what the consumers are busy with
_POLLED_SECONDS = POLL_SECONDS * _JITTER + _MEASURE_SECONDS  # p99: a poll has found it
_IN_TIME = f"at most {MORE_SECONDS:g} s more wait, and p99 ≤ {_JITTER:g} polls + {_MEASURE_SECONDS:g} s"
DOWN_SECONDS, SHORTEST_DOWN_SECONDS, DOWN_DOSE = 60.0, 8.0, 5
_UP_SECONDS = 2.0
_CONSUMERS = 2  # while Redis is flushed, lest it takes hundreds of tasks to have ids wait
_BURST, _BURST_SECONDS = 200, 0.25  # tasks, for 100 slots; each lasts so long
_USUAL_BURSTS = 4
_FLUSH_SECONDS = 0.5  # after a burst has been created, until ids wait
_END_SECONDS = 30.0

Once = Callable[[Scene, Probe], Awaitable[None]]

# In one step, so that what is counted is what is dropped.
_FLUSH = """
local dropped = {}
for _, list in ipairs(redis.call('KEYS', ARGV[1])) do
    for _, id in ipairs(redis.call('LRANGE', list, 0, -1)) do dropped[#dropped + 1] = id end
end
if #dropped > 0 then redis.call('FLUSHALL') end
return dropped
"""
_WAITED = "SELECT extract(epoch FROM started_at - created_at)::float8 FROM tasks WHERE id = ANY($1::uuid[])"


async def kill(scene: Scene, dose: int, random: Random) -> Finding:
    """SIGKILL of Valkey, which keeps nothing and is started again."""

    async def once(scene: Scene, _: Probe) -> None:
        with scene.injecting("redis-kill", "redis"):
            await scene.servers.kill_redis()
        await asyncio.sleep(random.uniform(0.2, 1.0))

    return await _repeat(scene, dose, once)


async def flush(scene: Scene, dose: int, random: Random) -> Finding:
    """FLUSHALL while ids wait: there are more tasks than slots. One that drops none of ours does not count."""
    finding, prefix = Finding(), f"flush-{random.getrandbits(32):08x}"
    usual, dropped, tries = list[float](), list[float](), 0
    sql = await scene.servers.connect()
    async with (
        scene.processes.fewer("consumer", _CONSUMERS),
        Redis.from_url(scene.servers.redis_url) as redis,
        Client(scene.processes.url, scene.history.calls, 1) as client,
        Probe(scene.processes.url, scene.history.calls) as probe,
    ):
        for number in range(_USUAL_BURSTS):
            ids = await _burst(client, f"{prefix}-usual-{number}")
            await ended(sql, ids, _END_SECONDS, "a burst")
            usual += await _waits_of(sql, ids)
        while finding.injected < dose and tries < 2 * dose:
            tries += 1
            ids = await _burst(client, f"{prefix}-{tries}")
            with scene.injecting("redis-flush", "redis"):
                gone = await _flush(redis, random.uniform(0, 0.1))
                await ended(sql, ids, _END_SECONDS, "a burst and what was dropped of it")
            ours = set(ids) & gone  # the wait of one that was retried would be counted from its creation
            dropped += await _waits_of(sql, ours)
            finding.injected += bool(ours)
    finding.violations += probe.violations() + await probe.lost(scene.servers.connect, START_SECONDS)
    _judge_waits(finding, usual, dropped)
    await sql.close()
    finding.facts |= {
        "ids dropped": str(len(dropped)),
        "flushes that dropped none beside that": str(tries - finding.injected),
        "create to start, of those in such bursts": spread(usual),
        "create to start, of those whose ids were dropped": spread(dropped),
        "creates not answered with 201": str(sum(probe.refused.values()) + probe.unanswered),
    }
    return finding


async def _burst(client: Client, marker: str) -> list[str]:
    """More tasks than there are slots; their ids."""
    content = {"marker": marker, "seconds": _BURST_SECONDS}
    tasks = [{"kind": "chaos_sleep", "content": content | {"index": index}} for index in range(_BURST)]
    return list((await insist(lambda: client.batch(tasks, marker, marker))).ids)


async def _flush(redis: "Redis", after: float) -> set[str]:
    """As soon as ids wait; what was dropped."""
    await asyncio.sleep(after)
    give_up = time.monotonic() + _FLUSH_SECONDS
    while True:
        dropped = await redis.eval(_FLUSH, 0, f"{LISTS}:*")
        if dropped or time.monotonic() > give_up:
            return {each.decode() for each in dropped}
        await asyncio.sleep(0.005)


async def _waits_of(sql: Connection, ids: Collection[str]) -> list[float]:
    """Those that were canceled before they started waited for nothing."""
    return [row[0] for row in await sql.fetch(_WAITED, list(ids)) if row[0] is not None]


def _judge_waits(finding: Finding, usual: Collection[float], during: Collection[float]) -> None:
    if not usual or not during:
        finding.violations.append("no waits were measured, so nothing is shown")
        return
    if max(during) > max(usual) + MORE_SECONDS:
        words = f"a task waited for {max(during):.2f} s, and at most {max(usual):.2f} s without the fault"
        finding.violations.append(words)
    if (measured := quantile(during, 0.99)) > _POLLED_SECONDS:
        finding.violations.append(f"tasks waited for {measured:.2f} s (p99), and not {_POLLED_SECONDS:.2f} s")


async def down(scene: Scene, dose: int, _: Random) -> Finding:
    """Redis is stopped for a minute each time; for less where the whole run is shorter."""
    seconds = max(SHORTEST_DOWN_SECONDS, DOWN_SECONDS * min(1.0, dose / DOWN_DOSE))
    rates: list[float] = []

    async def once(scene: Scene, probe: Probe) -> None:
        before, begun = len(probe.accepted), time.monotonic()
        with scene.injecting("redis-down", "redis"):
            await scene.servers.stop_redis()
            try:
                await asyncio.sleep(seconds)
                rates.append((len(probe.accepted) - before) / (time.monotonic() - begun))
            finally:
                await scene.servers.start_redis()
        await asyncio.sleep(_UP_SECONDS)

    finding = await _repeat(scene, dose, once)
    finding.facts["down for"] = f"{seconds:g} s each"
    finding.facts["creates a second of the probe while it was down"] = ", ".join(f"{rate:.0f}" for rate in rates)
    return finding


async def _repeat(scene: Scene, dose: int, once: Once) -> Finding:
    """Inject; then compare how long the probe's tasks have waited with how long they did before."""
    finding = Finding()
    async with Probe(scene.processes.url, scene.history.calls) as probe:
        await asyncio.sleep(BASELINE_SECONDS)
        begun = time.time()
        for _ in range(dose):
            await once(scene, probe)
            finding.injected += 1
        ended = time.time()
    finding.violations += probe.violations() + await probe.lost(scene.servers.connect, START_SECONDS)
    for words, number in probe.refused.items():
        finding.violations.append(f"{number} creates were refused: {words}")
    # One second apart, so that what waited across the boundary counts for the fault.
    usual = await probe.waits(scene.servers.connect, 0, begun - 1)
    waits = await probe.waits(scene.servers.connect, begun - 1, ended)
    _judge_waits(finding, usual, waits)
    finding.facts |= {
        "creates accepted by the probe": str(len(probe.accepted)),
        "creates not answered with 201": str(sum(probe.refused.values()) + probe.unanswered),
        "create to start before": spread(usual),
        "create to start during": spread(waits),
    }
    return finding


FAULTS = (
    Fault("redis-kill", "Redis kill", 100, f"0 lost, {_IN_TIME}", kill),
    Fault("redis-flush", "Redis FLUSHALL", 100, f"0 lost, {_IN_TIME}", flush),
    Fault("redis-down", "Redis down for a minute", DOWN_DOSE, f"creates 201, work goes on, {_IN_TIME}", down),
)
