"""Tasks that kill the process that runs them."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, NamedTuple

from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.insisting import insist
from tests.chaos.process import Why
from tests.chaos.recovery import ended
from tests.chaos.scene import Scene
from tests.chaos.spread import spread
from tests.support.types import Connection
from tests.support.waiting import until

_INNOCENTS = 1_000
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.05, 0.15  # of three times as many as there are slots: all of those are taken
_AT_ONCE = 5  # poison tasks, each among its innocents
_APART_SECONDS = 0.6  # lest one consumer claims several; four of these are less than a lease
_MOST_TRIES = 3  # for each that takes innocents with it
_RUN_SECONDS = 10.0  # until some innocents run
_END_SECONDS = 240.0

_RUN = "SELECT EXISTS (SELECT FROM tasks WHERE status = 'processing' AND id = ANY($1::uuid[]))"
_SECONDS = "SELECT extract(epoch FROM max(finished_at) - min(created_at))::float8 FROM tasks WHERE id = ANY($1::uuid[])"
_POISON = (
    "SELECT status || ' ' || coalesce(error ->> 'code', '') || ', lost ' || lost_count FROM tasks WHERE id = $1::uuid"
)
_INNOCENT = "SELECT status, count(*) FROM tasks WHERE id = ANY($1::uuid[]) GROUP BY 1"
_LOST = "SELECT lost_count, count(*) FROM tasks WHERE id = ANY($1::uuid[]) GROUP BY 1 ORDER BY 1"
_LOSSES = """
SELECT task::text, old_consumer::text FROM audit WHERE error_code = 'consumer_lost' AND task = ANY($1::uuid[])
"""


class _Round(NamedTuple):
    """A poison task, and those among which it runs."""

    poison: str
    innocents: Sequence[str]

    @property
    def ids(self) -> list[str]:
        """Of all."""
        return [self.poison, *self.innocents]


async def _poison(scene: Scene, dose: int, random: Random) -> Finding:
    """Some go side by side. One that takes no innocent of its own with it does not count."""
    finding, took, innocents, taken, tries = Finding(), list[float](), list[str](), list[int](), 0
    prefix = f"poison-{random.getrandbits(32):08x}"
    sql = await scene.servers.connect()
    async with Client(scene.processes.url, scene.history.calls, 2 * _AT_ONCE) as client:
        with scene.processes.allowing(Why.SIGKILL, "poison"):
            while finding.injected < dose and tries < _MOST_TRIES * dose:
                markers = [f"{prefix}-{tries + n}" for n in range(min(_AT_ONCE, dose - finding.injected))]
                tries += len(markers)
                with scene.injecting("poison", ", ".join(markers)):
                    starts = (
                        _start(scene, client, marker, _innocents(marker, random), place * _APART_SECONDS)
                        for place, marker in enumerate(markers)
                    )
                    rounds = await asyncio.gather(*starts)
                    ids = [task for each in rounds for task in each.ids]
                    await ended(sql, ids, _END_SECONDS, "poison and innocents")
                for each in rounds:
                    took.append(await sql.fetchval(_SECONDS, each.ids))
                    finding.violations += await _judge(sql, each)
                    innocents += each.innocents
                lost = await _lost_with_it(sql, rounds)
                taken += filter(None, lost)
                finding.injected += sum(map(bool, lost))
            await scene.processes.all_work()
    often = ", ".join(f"{count} {times}x" for times, count in await sql.fetch(_LOST, innocents) if times)
    finding.facts = {
        "all had ended after": spread(took),
        "innocents lost with the poison among them": f"{sum(taken)}, {min(taken, default=0)} at least with each",
        "innocents lost, with whichever poison": often or "none",
        "poison beside that, which took none with it": str(tries - finding.injected),
    }
    await sql.close()
    return finding


def _innocents(marker: str, random: Random) -> list[dict[str, Any]]:
    return [
        {
            "kind": "chaos_sleep",
            "content": {"marker": marker, "index": n, "seconds": random.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS)},
        }
        for n in range(_INNOCENTS)
    ]


async def _start(
    scene: Scene, client: Client, marker: str, innocents: Sequence[dict[str, Any]], after: float
) -> _Round:
    """After so many seconds create the innocents, and once some of them run, the poison, claimed as they are."""
    await asyncio.sleep(after)
    ids = (await insist(lambda: client.batch(innocents, marker, marker))).ids
    sql = await scene.servers.connect()
    with suppress(AssertionError):  # then it may take none with it
        await until(partial(sql.fetchval, _RUN, ids), _RUN_SECONDS)
    await sql.close()
    name = f"{marker}-poison"
    poison = {"kind": "chaos_poison", "content": {"marker": name}}
    return _Round((await insist(lambda: client.create(poison, name, name))).ids[0], ids)


async def _judge(sql: Connection, each: _Round) -> list[str]:
    """What has not ended as it should."""
    wrong = []
    end = await sql.fetchval(_POISON, each.poison)
    if end != "failed consumer_lost, lost 3":
        wrong.append(f"the poison task {each.poison} is {end}")
    ends = {row[0]: row[1] for row in await sql.fetch(_INNOCENT, each.innocents)}
    if ends != {"completed": _INNOCENTS}:
        wrong.append(f"the innocents of the poison task {each.poison} are {ends}")
    return wrong


async def _lost_with_it(sql: Connection, rounds: Collection[_Round]) -> list[int]:
    """How many of its own innocents were lost with each poison, in consumers which no other has killed."""
    lost: dict[str, set[str]] = defaultdict(set)  # tasks, by consumer
    for task, consumer in await sql.fetch(_LOSSES, [task for each in rounds for task in each.ids]):
        lost[consumer].add(task)
    poisons = {each.poison for each in rounds}
    alone = [tasks for tasks in lost.values() if len(tasks & poisons) == 1]
    beside = [set[str]().union(*(tasks for tasks in alone if each.poison in tasks)) for each in rounds]
    return [len(tasks.intersection(each.innocents)) for tasks, each in zip(beside, rounds, strict=True)]


POISON = Fault(
    "poison",
    "poison task among 1,000",
    20,
    "poison failed as consumer_lost, with innocents lost beside it; these 100 % completed",
    _poison,
)

FAULTS = (POISON,)
