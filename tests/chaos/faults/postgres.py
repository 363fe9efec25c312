"""PostgreSQL crashes: at once and as a whole, under load, again and again."""

import asyncio
import signal
import time
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.fault import Fault, Finding
from tests.chaos.probe import ANSWER_SECONDS, Probe

if TYPE_CHECKING:
    from tests.chaos.scene import Scene

BACK_SECONDS = 5.0
SETTLE_SECONDS = 30.0
LONG_SECONDS = 3.0  # longer than a lease
_LONG_ONE_IN = 20


async def crash(scene: "Scene", dose: int, random: Random) -> Finding:
    """SIGKILL or SIGQUIT of all of it; most are started again at once, some only when all leases have lapsed."""
    finding = Finding()
    backs: list[float] = []
    async with Probe(scene.processes.url, scene.history.calls) as probe:
        for _ in range(dose):
            how = random.choice((signal.SIGKILL, signal.SIGQUIT))
            down = LONG_SECONDS if random.randrange(_LONG_ONE_IN) == 0 else 0.0
            with scene.processes.allowing("consumer"):  # whose lease had lapsed
                with scene.injecting("postgres-crash", "postgresql"):
                    await scene.servers.crash_postgres(how, down)
                finding.injected += 1
                await note_return(finding, probe, time.time(), backs, f"PostgreSQL's return ({how.name})")
                await asyncio.sleep(random.uniform(0.3, 2.5))
    scene.sql = await scene.servers.connect()
    await conclude(finding, probe, scene, backs)
    return finding


async def note_return(finding: Finding, probe: Probe, since: float, backs: list[float], what: str) -> None:
    """Wait for the first 201."""
    back = await probe.accepts(since, BACK_SECONDS)
    if back is None:
        finding.violations.append(f"no 201 within {BACK_SECONDS:g} s of {what}")
    else:
        backs.append(back)


async def conclude(finding: Finding, probe: Probe, scene: "Scene", backs: list[float]) -> None:
    """What all faults on PostgreSQL are judged by: clear and timely errors, a quick return, and no false 201."""
    finding.violations += probe.violations
    finding.violations += await probe.lost(scene.servers.connect, SETTLE_SECONDS)
    if probe.longest > ANSWER_SECONDS:
        finding.violations.append(f"an answer took {probe.longest:.1f} s, and {ANSWER_SECONDS:g} s are promised")
    finding.facts |= {
        "first 201 after its return, median and at most": spread(backs),
        "creates accepted by the probe": str(len(probe.accepted)),
        "clear errors": "; ".join(f"{number} x {words}" for words, number in probe.refused.items()) or "none",
        "without an answer": str(probe.unanswered),
        "longest answer": f"{probe.longest:.2f} s",
    }


def spread(seconds: list[float]) -> str:
    """Median and maximum, in words."""
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.3f} s, {ordered[-1]:.3f} s" if ordered else "none"


FAULTS = (
    Fault("postgres-crash", "PostgreSQL immediate crash", 100, "I1 to I5; errors are clear, no 201 is false", crash),
)
