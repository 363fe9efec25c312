"""Consumers and APIs that stand still (SIGSTOP) for longer than the lease, and go on."""

import asyncio
import signal
import time
from random import Random

from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.consumers import one_of
from tests.chaos.process import Process
from tests.chaos.recovery import Gone, all_hold, in_words, recovery
from tests.chaos.scene import LEASE_SECONDS, Scene

_AT_ONCE = 5  # of six consumers: one must be left to take over
_API_EVERY = 3  # rounds: then one of the processes is an API
_FROZEN_SECONDS = 2 * LEASE_SECONDS
_EXIT_SECONDS = 5.0  # after SIGCONT: a beat, which finds no row, and its end

# What a consumer that had been declared dead has done all the same.
_STALE = """
SELECT audit.task::text, audit.old, audit.new, woken.consumer::text
FROM unnest($1::uuid[], $2::float8[]) AS woken (consumer, at)
JOIN audit ON (audit.old = 'processing' AND audit.old_consumer = woken.consumer)
    OR (audit.new = 'processing' AND audit.consumer = woken.consumer)
WHERE extract(epoch FROM audit.at) > woken.at
"""


async def _freeze(scene: Scene, dose: int, random: Random) -> Finding:
    finding, frozen, woken, took = Finding(), list[Gone](), list[Gone](), list[float]()

    async def freeze(process: Process) -> None:
        with scene.injecting("freeze", process.consumer_id or str(process.pid)):
            frozen_at = time.time()
            scene.processes.signal(process.pid, signal.SIGSTOP)
            await asyncio.sleep(_FROZEN_SECONDS)
            woken_at = time.time()
            scene.processes.signal(process.pid, signal.SIGCONT)
        finding.injected += 1
        if process.role == "api":
            process.is_expected_to_end = False
            return
        frozen.append(Gone(process.consumer_id, frozen_at))
        woken.append(Gone(process.consumer_id, woken_at))
        if await process.exited(_EXIT_SECONDS):
            took.append(time.time() - woken_at)
            if process.exit != 1 or "declared dead" not in process.output():
                finding.violations.append(f"consumer {process.pid} ended by {process.exit}: {process.output()[-500:]}")
        else:
            finding.violations.append(
                f"consumer {process.pid} lives on, {_EXIT_SECONDS:g} s after it was declared dead"
            )

    sql = await scene.servers.connect()
    apis, number = 0, 0
    while finding.injected < dose:
        await scene.processes.all_work()
        victims = random.sample(scene.processes.consumers, min(_AT_ONCE, dose - finding.injected))
        number += 1
        if number % _API_EVERY == 0:
            victims[0] = await one_of(lambda: scene.processes.apis, random)
            apis += 1
        await all_hold(sql, [victim.consumer_id for victim in victims if victim.role == "consumer"])
        await asyncio.gather(*(freeze(victim) for victim in victims))
    await scene.processes.all_work()
    found = await recovery(sql, frozen)
    for task, old, new, consumer in await sql.fetch(
        _STALE, [each.consumer for each in woken], [each.at for each in woken]
    ):
        finding.violations.append(f"task {task}: {old} to {new} by consumer {consumer}, which had been declared dead")
    await sql.close()
    finding.facts = {
        "consumers, APIs": f"{finding.injected - apis}, {apis}",
        "tasks held by the frozen, and recovered": f"{len(found.seconds)} ({in_words(found.seconds)})",
        "ended by themselves after SIGCONT": in_words(took),
    }
    if found.held:
        finding.violations.append(f"{found.held} tasks are still held by consumers that are gone")
    return finding


FREEZE = Fault("freeze", "SIGSTOP for 2 x lease", 300, "0 stale finishes; ends by itself after SIGCONT", _freeze)

FAULTS = (FREEZE,)
