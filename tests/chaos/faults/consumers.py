"""Consumers that are killed, and that are told to stop."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random

from app.core.config import STOP_SECONDS
from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.lasting import give_lasting
from tests.chaos.process import Process
from tests.chaos.processes import START_SECONDS
from tests.chaos.recovery import (
    BOUND_SECONDS,
    IN_TIME,
    Gone,
    held_by,
    recovery,
)
from tests.chaos.scene import DRAIN_SECONDS, Scene
from tests.chaos.spread import spread
from tests.support.waiting import until

_KILLS_A_SECOND = 0.75  # of six consumers: each lives for longer than the longest task, and a start, take
_MOST_KILLS = 2  # for each that hits
_TASKS_EACH = 200  # created meanwhile, at least, for each kill of the dose
_HOLD_SECONDS = 2.0
_LASTING_SECONDS = DRAIN_SECONDS + 4  # so that it must be stopped, and given back
_COUNT = "SELECT count(*) FROM tasks"


async def _kill(scene: Scene, dose: int, random: Random) -> Finding:
    """Kill whoever holds tasks. A kill that comes when he has just ended them all does not count."""
    finding, gone = Finding(), list[Gone]()
    sql = await scene.servers.connect()
    begun, created = time.time(), await sql.fetchval(_COUNT)
    while finding.injected < dose and len(gone) < _MOST_KILLS * dose:
        due = time.monotonic() + random.uniform(0.5, 1.5) / _KILLS_A_SECOND
        victim = await one_of(lambda: scene.processes.consumers, random)
        with suppress(AssertionError):  # counted apart
            await until(partial(held_by, sql, [victim.consumer_id]), _HOLD_SECONDS)
        with scene.injecting("kill-consumer", victim.consumer_id):
            gone.append(Gone(victim.consumer_id, time.time()))
            scene.processes.signal(victim.pid, signal.SIGKILL)
            await victim.exited(5)
        finding.injected += await held_by(sql, [victim.consumer_id]) > 0
        await asyncio.sleep(max(0, due - time.monotonic()))
    await scene.processes.all_work()
    await asyncio.sleep(BOUND_SECONDS)
    found, meanwhile = await recovery(sql, gone), await sql.fetchval(_COUNT) - created
    finding.facts = {
        "tasks created meanwhile": str(meanwhile),
        **found.facts,
        "kills beside that, of consumers that held nothing": str(len(gone) - finding.injected),
        "the machine itself was late by at most": f"{scene.lateness.within(begun, time.time()):.2f} s",
    }
    finding.violations = found.violations(scene.lateness)
    if meanwhile < _TASKS_EACH * dose:
        finding.violations.append(f"{meanwhile} tasks only were created meanwhile, of {_TASKS_EACH * dose}")
    await sql.close()
    return finding


async def _terminate(scene: Scene, dose: int, random: Random) -> Finding:
    """One a second, each while others still drain, and each with tasks that do not end before it must."""
    finding, gone, took = Finding(), list[Gone](), list[float]()
    wait = DRAIN_SECONDS + STOP_SECONDS
    draining = set[Process]()

    async def stop(process: Process) -> None:
        begun = time.time()
        with scene.injecting("terminate-consumer", process.consumer_id):
            scene.processes.signal(process.pid, signal.SIGTERM)
            if not await process.exited(wait):
                finding.violations.append(f"consumer {process.pid} is still there {wait:g} s after SIGTERM")
                scene.processes.signal(process.pid, signal.SIGKILL)
            elif process.exit:
                finding.violations.append(str(process.end()))
        took.append(time.time() - begun)
        draining.discard(process)

    def staying() -> list[Process]:
        return [each for each in scene.processes.consumers if each not in draining]

    sql, prefix = await scene.servers.connect(), f"terminate-{random.getrandbits(32):08x}"
    async with Client(scene.processes.url, scene.history.calls, 1) as client, asyncio.TaskGroup() as group:
        for number in range(_MOST_KILLS * dose):
            await one_of(staying, random)
            lasting = await give_lasting(client, sql, f"{prefix}-{number}", _LASTING_SECONDS, 1)
            holders = [each for each in staying() if each.consumer_id in lasting.held]
            if holders:
                victim = random.choice(holders)
                gone.append(Gone(victim.consumer_id, time.time()))
                draining.add(victim)
                group.create_task(stop(victim))
                finding.injected += 1
            if finding.injected == dose:
                break
            await asyncio.sleep(random.uniform(0.2, 1.0))
    await scene.processes.all_work()
    found = await recovery(sql, gone)
    released = [task for task in found.left if task.is_released]
    finding.facts = {
        "exited": spread(took),
        "tasks held at SIGTERM": str(len(found.left)),
        "of these given back when the drain was over": str(len(released)),
        "the drain's bound": f"{DRAIN_SECONDS:g} s",
    }
    if in_time := {each.consumer for each in gone} - {task.consumer for task in released}:
        words = f"{len(in_time)} consumers gave nothing back, though they held tasks of {_LASTING_SECONDS:g} s"
        finding.violations.append(words)
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
    f"0 lost; {IN_TIME}; {_TASKS_EACH} tasks created for each kill",
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
