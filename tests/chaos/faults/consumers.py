"""Consumers that are killed, and that are told to stop."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from random import Random

from app.core.config import STOP_SECONDS
from tests.chaos.fault import Fault, Finding
from tests.chaos.process import Process
from tests.chaos.processes import START_SECONDS
from tests.chaos.recovery import (
    BOUND_SECONDS,
    MEASURE_SECONDS,
    Gone,
    all_hold,
    held_by,
    in_words,
    innocents_failed,
    recovery,
    watched_lateness,
)
from tests.chaos.scene import Scene
from tests.support.waiting import until

_KILLS_A_SECOND = 0.5  # of six consumers: each lives for longer than the longest task, and a start, take
_COUNT = "SELECT count(*) FROM tasks"


async def _kill(scene: Scene, dose: int, random: Random) -> Finding:
    finding, gone, held = Finding(), list[Gone](), 0
    sql = await scene.servers.connect()
    created = await sql.fetchval(_COUNT)
    failed = set(await innocents_failed(sql))
    async with watched_lateness() as late:
        for _ in range(dose):
            victim = await one_of(lambda: scene.processes.consumers, random)
            with scene.injecting("kill-consumer", victim.consumer_id):
                gone.append(Gone(victim.consumer_id, time.time()))
                scene.processes.signal(victim.pid, signal.SIGKILL)
                await victim.exited(5)
            held += await held_by(sql, [victim.consumer_id])
            finding.injected += 1
            await asyncio.sleep(random.uniform(0.5, 1.5) / _KILLS_A_SECOND)
        await scene.processes.all_work()
        await asyncio.sleep(BOUND_SECONDS)
    found = await recovery(sql, gone)
    finding.facts = {
        "tasks created meanwhile": str(await sql.fetchval(_COUNT) - created),
        "tasks held by the killed": str(held),
        "of these recovered": f"{len(found.seconds)} ({in_words(found.seconds)})",
        "this process itself was late by at most": f"{late[0]:.2f} s",
    }
    finding.violations = found.violations(late[0]) + sorted(set(await innocents_failed(sql)) - failed)
    await sql.close()
    return finding


async def _terminate(scene: Scene, dose: int, random: Random) -> Finding:
    """One a second, each while others still drain."""
    finding, gone, took = Finding(), list[Gone](), list[float]()
    wait = float(scene.processes.environment.get("DRAIN_SECONDS", "20")) + STOP_SECONDS
    draining = set[Process]()

    async def stop(process: Process) -> None:
        begun = time.time()
        with scene.injecting("terminate", process.consumer_id):
            scene.processes.signal(process.pid, signal.SIGTERM)
            if not await process.exited(wait):
                finding.violations.append(f"consumer {process.pid} is still there {wait:g} s after SIGTERM")
                scene.processes.signal(process.pid, signal.SIGKILL)
            elif process.exit:
                finding.violations.append(
                    f"consumer {process.pid} ended by {process.exit}: {process.output()[-1_000:]}"
                )
        took.append(time.time() - begun)
        draining.discard(process)

    sql = await scene.servers.connect()
    async with asyncio.TaskGroup() as group:
        for _ in range(dose):
            victim = await one_of(lambda: [each for each in scene.processes.consumers if each not in draining], random)
            await all_hold(sql, [victim.consumer_id])
            gone.append(Gone(victim.consumer_id, time.time()))
            draining.add(victim)
            group.create_task(stop(victim))
            finding.injected += 1
            await asyncio.sleep(random.uniform(0.5, 1.5))
    await scene.processes.all_work()
    found = await recovery(sql, gone)
    finding.facts = {
        "exited": in_words(took),
        "tasks held at SIGTERM": str(len(found.left)),
        "of these given back": str(sum(task.status == "pending" for task in found.left)),
    }
    finding.violations += [
        f"task {task.task} was lost with consumer {task.consumer}" for task in found.left if task.is_lost
    ]
    finding.violations += [f"task {task.task} has lost an attempt" for task in found.left if task.is_burnt]
    if found.held:
        finding.violations.append(f"{found.held} tasks are held by consumers that have ended in order")
    await sql.close()
    return finding


async def one_of(processes: Callable[[], Sequence[Process]], random: Random) -> Process:
    """Any of them, as soon as there are any."""

    async def fact() -> bool:
        return bool(processes())

    await until(fact, START_SECONDS)
    return random.choice(processes())


KILL = Fault(
    "kill-consumer",
    "consumer SIGKILL",
    500,
    f"0 lost; recovered within lease + 1 sweep (+ {MEASURE_SECONDS:g} s to measure, and what the machine is late)",
    _kill,
)
TERMINATE = Fault(
    "terminate-consumer",
    "consumer SIGTERM under load",
    80,
    "0 lost; exits 0 within its wait; no attempt burnt",
    _terminate,
)

FAULTS = (KILL, TERMINATE)
