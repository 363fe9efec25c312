"""Handlers that block their consumer's event loop for longer than the lease."""

import asyncio
from contextlib import AsyncExitStack
from random import Random

from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.insisting import insist
from tests.chaos.history import Call
from tests.chaos.recovery import innocents_failed
from tests.chaos.scene import LEASE_SECONDS, Scene
from tests.support.types import Connection
from tests.support.waiting import until

_AT_ONCE = 3
_BLOCK_SECONDS = 3 * LEASE_SECONDS
_WATCHDOG_SECONDS = 1.5
_WATCHED = 4  # consumers that are ended by their watchdogs
_END_SECONDS = 6 * _BLOCK_SECONDS

_LIVE = "SELECT count(*) FROM tasks WHERE id = ANY($1::uuid[]) AND status IN ('pending', 'processing')"
_ENDS = "SELECT id::text, status, attempt, lost_count FROM tasks WHERE id = ANY($1::uuid[])"


async def _block(scene: Scene, dose: int, random: Random) -> Finding:
    """The first half while the heartbeat holds the lease; the rest where the watchdog ends the process."""
    finding = Finding()
    held, ended = (dose + 1) // 2, dose // 2
    ends = len(scene.processes.unexplained)
    sql = await scene.servers.connect()
    failed = set(await innocents_failed(sql))
    prefix = f"block-{random.getrandbits(32):08x}"
    async with Client(scene.processes.url, scene.history.calls, _AT_ONCE) as client:
        lost = await _rounds(scene, client, sql, f"{prefix}-held", held)
        finding.violations += [f"task {task} was lost {count} times while its consumer lived" for task, count in lost]
        finding.violations += [f"{end.role} {end.pid} ended: {end.tail}" for end in scene.processes.unexplained[ends:]]
        if ended:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(scene.processes.fewer("consumer", 0))
                for _ in range(_WATCHED):
                    watchdog = {"LOOP_BLOCKED_SECONDS": str(_WATCHDOG_SECONDS)}
                    await stack.enter_async_context(scene.processes.besides("consumer", watchdog))
                stack.enter_context(scene.processes.allowing("consumer"))
                lost = await _rounds(scene, client, sql, f"{prefix}-ended", ended)
            finding.facts["ended by the watchdog, and recovered"] = f"{len(lost)} of {ended}"
            if len(lost) < ended:
                finding.violations.append(f"only {len(lost)} of {ended} blocked consumers were ended")
    finding.injected = dose
    finding.facts["blocked for 3 leases, and completed where they were"] = str(held)
    finding.violations += sorted(set(await innocents_failed(sql)) - failed)
    await sql.close()
    return finding


async def _rounds(scene: Scene, client: Client, sql: Connection, prefix: str, dose: int) -> list[tuple[str, int]]:
    """Have so many tasks block, some at a time, and wait for their ends; those that were lost, and how often."""
    lost = []
    for first in range(0, dose, _AT_ONCE):
        with scene.injecting("block", f"{prefix}-{first}"):
            markers = [f"{prefix}-{number}" for number in range(first, min(first + _AT_ONCE, dose))]
            calls = await asyncio.gather(*(_create(client, marker) for marker in markers))
            ids = [call.ids[0] for call in calls]

            async def fact(ids: list[str] = ids) -> bool:
                return not await sql.fetchval(_LIVE, ids)

            fact.__doc__ = f"the blocking tasks {ids} have ended"
            await until(fact, _END_SECONDS, 0.1)
        for task, status, _, count in await sql.fetch(_ENDS, ids):
            assert status == "completed", f"{task} is {status}"
            if count:
                lost.append((task, count))
    return lost


async def _create(client: Client, marker: str) -> Call:
    content = {"marker": marker, "seconds": _BLOCK_SECONDS, "first": True}
    task = {"kind": "chaos_block", "content": content, "priority": "high"}
    return await insist(lambda: client.create(task, marker, marker))


BLOCK = Fault(
    "block-loop",
    "event loop blocked for 3 x lease",
    50,
    "no false recovery; or, where LOOP_BLOCKED_SECONDS is less, ended by the watchdog, recovered and completed",
    _block,
)

FAULTS = (BLOCK,)
