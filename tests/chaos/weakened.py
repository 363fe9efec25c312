"""The checker's own proof: in weakened builds it finds what they do wrong, and with the fence nothing."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos.checker import check
from tests.chaos.checks.cancels import OVERRIDDEN
from tests.chaos.checks.moves import OVERWRITTEN
from tests.chaos.checks.outcomes import STALE
from tests.chaos.client import Client
from tests.chaos.faults.races import RACES
from tests.chaos.process import Process
from tests.chaos.running import read_all, running
from tests.chaos.scene import LEASE_SECONDS, Scene
from tests.support.waiting import until

_RATE = 40.0
_ROUNDS = 2
_FROZEN, _FROZEN_SECONDS = 3, 2 * LEASE_SECONDS
# Asleep when its consumer is frozen, over when that one wakes; and run by another until after that.
_TASKS, _TASK_SECONDS = 80, 3.6
_WAIT_SECONDS = 10.0  # for them to run, and to run again; where they don't, the proof says what it has not found
_AFTER_SECONDS = 0.7  # for who wakes to write what he should not
_RACES = 200
_SETTLE_SECONDS = 30.0
_CANCELED = 10  # of the tasks of each that is frozen, while it is
# What must be found in each build: what it does wrong, and not only that something is.
_FENCED = "hears-late"  # what the two others are without their fence
_EXPECTED = {_FENCED: frozenset[str](), "by-id": frozenset({OVERWRITTEN, OVERRIDDEN}), "by-status": frozenset({STALE})}

_HOLDERS = """
SELECT consumer_id::text FROM tasks WHERE status = 'processing' GROUP BY consumer_id ORDER BY count(*) DESC
"""
_RUNNING = """
SELECT count(*) >= $3 FROM tasks WHERE content ->> 'marker' = $1 AND status = 'processing' AND lost_count >= $2
"""
_HELD = """
SELECT id::text FROM tasks WHERE status = 'processing' AND consumer_id = $1::uuid AND content ->> 'marker' = $2
ORDER BY id LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the checker found in one build. `transitions`: among so many."""

    build: str
    found: Counter[str]
    transitions: int
    stuck: int

    @property
    def holds(self) -> bool:
        """Whether that is as it should be."""
        expected = _EXPECTED[self.build]
        return (expected <= self.found.keys() if expected else not self.found) and not self.stuck

    def __str__(self) -> str:
        """As it is printed."""
        found = ", ".join(f"{count} x {rule}" for rule, count in self.found.most_common()) or "nothing"
        missing = _EXPECTED[self.build] - self.found.keys()
        wrong = "" if self.holds else f" (WRONG{''.join(f', no {rule}' for rule in sorted(missing))})"
        return f"build {self.build}: {self.transitions:,} transitions; found {found}{wrong}"


async def prove(folder: Path, seed: int, tell: Callable[[str], None]) -> list[Proof]:
    """The same short scenario in each build, all at the same time, each in a folder and with servers of its own."""
    starting = asyncio.Lock()  # migrations are one at a time in a process
    proofs = await asyncio.gather(*(_prove(folder / build, seed, build, starting) for build in _EXPECTED))
    for proof in proofs:
        tell(str(proof))
    return proofs


async def _prove(folder: Path, seed: int, build: str, starting: asyncio.Lock) -> Proof:
    async with AsyncExitStack() as stack:
        async with starting:
            scene = await stack.enter_async_context(running(folder, seed, build))
        await scene.load.start(_RATE)
        async with asyncio.TaskGroup() as group:
            group.create_task(_freeze(scene))
            group.create_task(_race(scene, Random(f"{seed}:weakened-races")))
        stuck = await scene.load.settle(_SETTLE_SECONDS)
        stuck += await scene.load.stop() + scene.load.errors
        verdict = check(await read_all(scene))
    return Proof(build, verdict.by_rule(), len(scene.history.transitions), len(stuck) if build == _FENCED else 0)


async def _race(scene: Scene, random: Random) -> None:
    await RACES.inject(scene, _RACES, random)  # its own finding is not asked for: the checker is


async def _busiest(scene: Scene) -> list[Process]:
    sql = await scene.servers.connect()
    holders = [row[0] for row in await sql.fetch(_HOLDERS)]
    await sql.close()
    living = {process.consumer_id: process for process in scene.processes.consumers}
    return [living[holder] for holder in holders if holder in living][:_FROZEN]


async def _running(scene: Scene, marker: str, *, lost: int, count: int) -> None:
    """Wait until so many of these run that have been lost so often."""
    sql = await scene.servers.connect()
    with suppress(AssertionError):
        await until(lambda: sql.fetchval(_RUNNING, marker, lost, count), _WAIT_SECONDS)
    await sql.close()


async def _cancel(scene: Scene, client: Client, victims: list[Process], marker: str) -> None:
    sql = await scene.servers.connect()
    held = [row[0] for each in victims for row in await sql.fetch(_HELD, each.consumer_id, marker, _CANCELED)]
    await sql.close()
    await asyncio.gather(*map(client.cancel, held))


async def _freeze(scene: Scene) -> None:
    """Stop those who hold most past their lease, with tasks that will have ended when they wake.

    They wake when the others have begun to run some of these again; and clients cancel some meanwhile.
    """
    async with Client(scene.processes.url, scene.history.calls) as client:
        for number in range(_ROUNDS):
            await scene.processes.all_work()
            marker = f"frozen-{number}"
            content = {"marker": marker, "seconds": _TASK_SECONDS}
            tasks = [{"kind": "chaos_sleep", "content": content | {"index": index}} for index in range(_TASKS)]
            await client.batch(tasks, marker, marker)
            await _running(scene, marker, lost=0, count=_TASKS // 2)
            victims = await _busiest(scene)
            for victim in victims:
                scene.processes.signal(victim.pid, signal.SIGSTOP)
            with scene.injecting("freeze", ", ".join(victim.consumer_id for victim in victims)):
                await asyncio.gather(asyncio.sleep(_FROZEN_SECONDS), _cancel(scene, client, victims, marker))
                await _running(scene, marker, lost=1, count=1)
            for victim in victims:
                scene.processes.signal(victim.pid, signal.SIGCONT)
            await asyncio.sleep(_AFTER_SECONDS)
