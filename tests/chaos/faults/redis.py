"""Redis dies, forgets, or stays away: hints are lost, and nothing else."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from tests.chaos.fault import Fault, Finding
from tests.chaos.probe import Probe

if TYPE_CHECKING:
    from tests.chaos.scene import Scene

BASELINE_SECONDS = 4.0
MORE_SECONDS = 2.0  # than without the fault, a task may wait
SETTLE_SECONDS = 30.0
DOWN_SECONDS, SHORTEST_DOWN_SECONDS, DOWN_DOSE = 60.0, 8.0, 5
_UP_SECONDS = 2.0

Once = Callable[["Scene", Probe], Awaitable[None]]


async def kill(scene: "Scene", dose: int, random: Random) -> Finding:
    """SIGKILL of Valkey, which keeps nothing and is started again."""

    async def once(scene: "Scene", _: Probe) -> None:
        with scene.injecting("redis-kill", "redis"):
            await scene.servers.kill_redis()
        await asyncio.sleep(random.uniform(0.2, 1.5))

    return await _repeat(scene, dose, once)


async def flush(scene: "Scene", dose: int, random: Random) -> Finding:
    """FLUSHALL."""
    async with Redis.from_url(scene.servers.redis_url) as redis:

        async def once(scene: "Scene", _: Probe) -> None:
            with scene.injecting("redis-flush", "redis"):
                await redis.flushall()
            await asyncio.sleep(random.uniform(0.05, 0.35))

        return await _repeat(scene, dose, once)


async def down(scene: "Scene", dose: int, _: Random) -> Finding:
    """Redis is stopped for a minute each time; for less where the whole run is shorter."""
    seconds = max(SHORTEST_DOWN_SECONDS, DOWN_SECONDS * min(1.0, dose / DOWN_DOSE))
    rates: list[float] = []

    async def once(scene: "Scene", probe: Probe) -> None:
        before, begun = len(probe.accepted), time.monotonic()
        with scene.injecting("redis-down", "redis"):
            await scene.servers.stop_redis()
            await asyncio.sleep(seconds)
            rates.append((len(probe.accepted) - before) / (time.monotonic() - begun))
            await scene.servers.start_redis()
        await asyncio.sleep(_UP_SECONDS)

    finding = await _repeat(scene, dose, once)
    finding.facts["down for"] = f"{seconds:g} s each"
    finding.facts["creates a second of the probe while it was down"] = ", ".join(f"{rate:.0f}" for rate in rates)
    return finding


async def _repeat(scene: "Scene", dose: int, once: Once) -> Finding:
    """Inject; then compare how long the probe's tasks have waited with how long they did before."""
    finding = Finding()
    async with Probe(scene.processes.url, scene.history.calls) as probe:
        await asyncio.sleep(BASELINE_SECONDS)
        begun = time.time()
        for _ in range(dose):
            await once(scene, probe)
            finding.injected += 1
        ended = time.time()
    lost = await probe.lost(scene.servers.connect, SETTLE_SECONDS)
    finding.violations += [*probe.violations, *lost]
    for words, number in probe.refused.items():
        finding.violations.append(f"{number} creates were refused: {words}")
    # One second apart, so that what waited across the boundary counts for the fault.
    usual = await probe.waits(scene.servers.connect, 0, begun - 1)
    waits = await probe.waits(scene.servers.connect, begun - 1, ended)
    if usual and waits and waits[-1] > usual[-1] + MORE_SECONDS:
        finding.violations.append(
            f"a task waited for {waits[-1]:.2f} s, and at most {usual[-1]:.2f} s without the fault"
        )
    finding.facts |= {
        "creates accepted by the probe": str(len(probe.accepted)),
        "creates not answered with 201": str(sum(probe.refused.values()) + probe.unanswered),
        "create to start before, p50 / p99 / at most": _quantiles(usual),
        "create to start during, p50 / p99 / at most": _quantiles(waits),
    }
    return finding


def _quantiles(ordered: list[float]) -> str:
    if not ordered:
        return "none"
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"{p50 * 1_000:.0f} / {p99 * 1_000:.0f} / {ordered[-1] * 1_000:.0f} ms"


FAULTS = (
    Fault("redis-kill", "Redis kill", 100, "0 lost, at most 2 s more wait", kill),
    Fault("redis-flush", "Redis FLUSHALL", 100, "0 lost, at most 2 s more wait", flush),
    Fault("redis-down", "Redis down for minutes", DOWN_DOSE, "creates 201, work goes on", down),
)
