"""PostgreSQL crashes: at once and as a whole, under load, again and again."""

import asyncio
import signal
import time
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.fault import Fault, Finding
from tests.chaos.probe import Probe, conclude, note_return

if TYPE_CHECKING:
    from tests.chaos.scene import Scene

LONG_SECONDS = 3.0  # longer than a lease
_LONG_ONE_IN = 20


async def crash(scene: "Scene", dose: int, random: Random) -> Finding:
    """SIGKILL or SIGQUIT of all of it; most are started again at once, some only when all leases have lapsed.

    No consumer is declared dead for that: whoever is back first knows that the others' beats were kept as well.
    """
    finding = Finding()
    backs: list[float] = []
    async with Probe(scene.processes.url, scene.history.calls) as probe:
        for _ in range(dose):
            how = random.choice((signal.SIGKILL, signal.SIGQUIT))
            down = LONG_SECONDS if random.randrange(_LONG_ONE_IN) == 0 else 0.0
            with scene.injecting("postgres-crash", "postgresql"):
                await scene.servers.crash_postgres(how, down)
            finding.injected += 1
            await note_return(finding, probe, time.time(), backs, f"PostgreSQL's return ({how.name})")
            await asyncio.sleep(random.uniform(0.3, 1.0))
    await conclude(finding, probe, scene, backs)
    return finding


FAULTS = (
    Fault("postgres-crash", "PostgreSQL immediate crash", 100, "I1 to I5; errors are clear, no 201 is false", crash),
)
