"""Consumers and APIs that stand still (SIGSTOP) for longer than the lease, and go on."""

import asyncio
import json
import signal
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from random import Random

from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.consumers import one_of
from tests.chaos.faults.lasting import give_lasting
from tests.chaos.process import Process, Why
from tests.chaos.recovery import IN_TIME, Gone, recovery
from tests.chaos.scene import LEASE_SECONDS, Scene
from tests.chaos.spread import spread
from tests.support.types import Connection
from tests.support.waiting import until

_AT_ONCE = 5  # of six consumers: one must be left to take over
_API_EVERY = 3  # rounds: then an API is frozen beside them
_FROZEN_SECONDS = 2 * LEASE_SECONDS
# Asleep when its consumer is frozen, over when that one wakes; and until after that run by another.
_LASTING_SECONDS = 3.6
_EXIT_SECONDS = 5.0  # after SIGCONT: a beat, which finds no row, and its end
_MOST_ROUNDS = 2  # for each that is to be frozen
_AGAIN_SECONDS = 5.0  # for second runs to end
_SOME = 5  # freezes, after which some outcome must have been refused

_SECOND_RUNS = """
SELECT count(*) FROM tasks
WHERE id = ANY($1::uuid[]) AND status = 'processing' AND lost_count = 1 AND consumer_id <> ALL($2::uuid[])
"""
_LOST_ONCE = """
SELECT EXISTS (SELECT FROM tasks WHERE id = ANY($1::uuid[]) AND status IN ('pending', 'processing') AND lost_count = 1)
"""
_IS_REGISTERED = "SELECT EXISTS (SELECT FROM consumers WHERE id = $1::uuid)"


class _Freezes:
    """Rounds of it, and what came of them."""

    def __init__(self, scene: Scene) -> None:
        self.finding = Finding()
        self.gone: list[Gone] = []
        self.took: list[float] = []  # from SIGCONT to the exit
        self.apis = 0
        self.second_runs = 0  # under way when the consumer of the first one woke
        self.refused = 0  # outcomes of first runs that came after that
        self.survivors = 0  # which does not count as a freeze
        self._scene = scene

    async def freeze(self, consumers: Sequence[Process], others: Sequence[Process], ids: Collection[str]) -> None:
        """Freeze these at once. The consumers hold these tasks."""
        sql, names = await self._scene.servers.connect(), [process.consumer_id for process in consumers]
        frozen_at = time.time()
        with self._scene.injecting("freeze", ", ".join([*names, *(str(process.pid) for process in others)])):
            for process in (*consumers, *others):
                self._scene.processes.signal(process.pid, signal.SIGSTOP)
            await asyncio.sleep(_FROZEN_SECONDS)
            self.second_runs += await sql.fetchval(_SECOND_RUNS, list(ids), names)
            woken_at = time.time()
            for process in (*consumers, *others):
                self._scene.processes.signal(process.pid, signal.SIGCONT)
        await sql.close()
        for process in others:
            process.is_expected_to_end = False
        self.apis += len(others)
        await asyncio.gather(*(self._end(process, frozen_at, woken_at, ids) for process in consumers))

    async def _end(self, process: Process, frozen_at: float, woken_at: float, ids: Collection[str]) -> None:
        if not await process.exited(_EXIT_SECONDS):
            await self._note_survivor(process, frozen_at, woken_at)
            return
        self.gone.append(Gone(process.consumer_id, frozen_at))
        self.finding.injected += 1
        self.took.append(process.ended_at - woken_at)
        end = process.end()
        if end.why is not Why.DECLARED_DEAD:
            self.finding.violations.append(str(end))
        self.refused += len(_dropped(process.output()) & set(ids))

    async def _note_survivor(self, process: Process, frozen_at: float, woken_at: float) -> None:
        """Nobody judged it, where the machine itself was late: then all had trouble with their own beats."""
        sql = await self._scene.servers.connect()
        is_registered = await sql.fetchval(_IS_REGISTERED, process.consumer_id)
        await sql.close()
        if not is_registered:
            words = f"consumer {process.pid} lives on, {_EXIT_SECONDS:g} s after it was declared dead"
            self.finding.violations.append(words)
        elif self._scene.lateness.trouble(frozen_at, woken_at) == frozen_at:
            self.finding.violations.append(f"consumer {process.pid} was frozen, and not declared dead")
        process.is_expected_to_end = False
        self.survivors += 1


async def _freeze(scene: Scene, dose: int, random: Random) -> Finding:
    freezes = _Freezes(scene)
    finding, prefix = freezes.finding, f"freeze-{random.getrandbits(32):08x}"
    sql = await scene.servers.connect()
    async with Client(scene.processes.url, scene.history.calls, 1) as client:
        for number in range(_MOST_ROUNDS * dose):  # most of them freeze five
            await scene.processes.all_work()
            apis = [await one_of(lambda: scene.processes.apis, random)] if number % _API_EVERY == 0 else []
            consumers = {process.consumer_id: process for process in scene.processes.consumers}
            lasting = await give_lasting(client, sql, f"{prefix}-{number}", _LASTING_SECONDS, len(consumers))
            holders = [consumers[name] for name in sorted(lasting.held) if name in consumers]
            victims = random.sample(holders, min(_AT_ONCE, len(holders), dose - finding.injected))
            if not victims:  # on a busy machine nobody has started his in time
                continue
            await freezes.freeze(victims, apis, lasting.ids)
            if finding.injected >= dose:
                break
            # Lost a second time they would run one by one, hundreds of them, for minutes.
            with suppress(AssertionError):
                await until(partial(_have_ended, sql, lasting.ids), _AGAIN_SECONDS)
    await scene.processes.all_work()
    found = await recovery(sql, freezes.gone)
    await sql.close()
    finding.facts = {
        "consumers that held tasks, and beside them APIs": f"{finding.injected}, {freezes.apis}",
        **found.facts,
        "second runs under way when the first woke": str(freezes.second_runs),
        "outcomes of first runs that were refused": str(freezes.refused),
        "ended by themselves after SIGCONT": spread(freezes.took),
        "frozen beside that, and not declared dead, since the machine itself was late": str(freezes.survivors),
    }
    finding.violations += found.violations(scene.lateness)
    if not freezes.second_runs:
        finding.violations.append("no second run was under way when the first woke, so nothing is shown")
    if not freezes.refused and finding.injected >= _SOME:
        finding.violations.append("no outcome was refused, so the fence had nothing to do")
    return finding


async def _have_ended(sql: Connection, ids: Collection[str]) -> bool:
    """Their second runs, where the first was lost."""
    return not await sql.fetchval(_LOST_ONCE, list(ids))


def _dropped(log: str) -> set[str]:
    """The tasks whose outcome was refused, by the consumer's own words."""
    lines = [line for line in log.splitlines() if "outcome dropped" in line]
    return {json.loads(line)["task_id"] for line in lines}


FREEZE = Fault(
    "freeze",
    "SIGSTOP for 2 x lease",
    300,
    "0 stale finishes, as the checker sees them, with first runs that end while second ones go on; "
    f"{IN_TIME}; ends by itself",
    _freeze,
)

FAULTS = (FREEZE,)
