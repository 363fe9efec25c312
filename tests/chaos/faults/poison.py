"""Tasks that kill the process that runs them."""

import asyncio
from random import Random

from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.insisting import insist
from tests.chaos.process import Why
from tests.chaos.recovery import ended
from tests.chaos.scene import Scene
from tests.chaos.spread import spread

_INNOCENTS = 1_000
_AT_ONCE = 4  # poison tasks, each among its innocents
_LONGEST_SECONDS = 0.02
_END_SECONDS = 240.0

_SECONDS = "SELECT extract(epoch FROM max(finished_at) - min(created_at))::float8 FROM tasks WHERE id = ANY($1::uuid[])"
_POISON = (
    "SELECT status || ' ' || coalesce(error ->> 'code', '') || ', lost ' || lost_count FROM tasks WHERE id = $1::uuid"
)
_INNOCENT = "SELECT status, count(*) FROM tasks WHERE id = ANY($1::uuid[]) GROUP BY 1"
_LOST = "SELECT lost_count, count(*) FROM tasks WHERE id = ANY($1::uuid[]) GROUP BY 1 ORDER BY 1"


async def _poison(scene: Scene, dose: int, random: Random) -> Finding:
    finding, took, innocents = Finding(), list[float](), list[str]()
    prefix = f"poison-{random.getrandbits(32):08x}"
    sql = await scene.servers.connect()
    async with Client(scene.processes.url, scene.history.calls, 2 * _AT_ONCE) as client:
        with scene.processes.allowing(Why.SIGKILL):
            for first in range(0, dose, _AT_ONCE):
                numbers = range(first, min(first + _AT_ONCE, dose))
                with scene.injecting("poison", f"{prefix}-{first}"):
                    made = await asyncio.gather(*(_create(client, f"{prefix}-{number}", random) for number in numbers))
                    ids = [task for each in made for task in each]
                    await ended(sql, ids, _END_SECONDS, "poison and innocents")
                for poison, *others in made:
                    took.append(await sql.fetchval(_SECONDS, [poison, *others]))
                    end = await sql.fetchval(_POISON, poison)
                    ends = {row[0]: row[1] for row in await sql.fetch(_INNOCENT, others)}
                    if end != "failed consumer_lost, lost 3":
                        finding.violations.append(f"the poison task {poison} is {end}")
                    if ends != {"completed": _INNOCENTS}:
                        finding.violations.append(f"the innocents of the poison task {poison} are {ends}")
                    innocents += others
                    finding.injected += 1
            await scene.processes.all_work()
    lost = ", ".join(f"{count} {times}x" for times, count in await sql.fetch(_LOST, innocents) if times)
    finding.facts = {"all had ended after": spread(took), "innocents that were lost with it": lost or "none"}
    await sql.close()
    return finding


async def _create(client: Client, marker: str, random: Random) -> list[str]:
    """The ids of a poison task and of those that it runs among."""
    poison = {"kind": "chaos_poison", "content": {"marker": f"{marker}-poison"}, "priority": "high"}
    others = [
        {
            "kind": "chaos_sleep",
            "content": {"marker": marker, "index": n, "seconds": random.uniform(0, _LONGEST_SECONDS)},
        }
        for n in range(_INNOCENTS)
    ]
    calls = await asyncio.gather(
        insist(lambda: client.batch(others, marker, marker)),
        insist(lambda: client.create(poison, f"{marker}-poison", f"{marker}-poison")),
    )
    return [*calls[1].ids, *calls[0].ids]


POISON = Fault(
    "poison",
    "poison task among 1,000",
    20,
    "poison failed as consumer_lost, innocents 100 % completed",
    _poison,
)

FAULTS = (POISON,)
