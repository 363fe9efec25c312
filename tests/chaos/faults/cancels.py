"""Cancels of tasks that run: how long it takes until the handler has been stopped."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.insisting import insist
from tests.chaos.history import Outcome
from tests.chaos.runs import Watch, watching
from tests.chaos.scene import BEAT_SECONDS, GRACE_SECONDS, Scene
from tests.chaos.spread import quantile, spread

_TOLD_SECONDS = 0.25  # p99, with Redis
_JITTER, _MEASURE_SECONDS = 1.1, 0.25  # of beats; for the statement, and this driver
_UNTOLD_SECONDS = BEAT_SECONDS * _JITTER + _MEASURE_SECONDS
_KILL_SECONDS = 0.5  # for the end of a process
_KILLED_SECONDS = GRACE_SECONDS + _KILL_SECONDS
_WAVE = 50
_LENGTH_SECONDS = 60.0
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_LONGEST_RUN_SECONDS = 0.5  # before its cancel
_LOOK_SECONDS = 0.005
_CHILDREN = 1  # at once, of the one consumer that has one; each cancel costs it that


class _Cancels:
    """Starts tasks that would run for a minute, and cancels them."""

    def __init__(self, client: Client, watch: Watch, random: Random, finding: Finding) -> None:
        self._client = client
        self._watch = watch
        self._random = random
        self._finding = finding
        self._prefix = f"cancel-{random.getrandbits(32):08x}"
        self._waves = 0

    async def stopped(self, kind: str, count: int, at_once: int, **content: Any) -> list[float]:
        """Seconds from each cancel's being sent to the handler's word, or its process's end, that it has stopped."""
        seconds: list[float] = []
        for first in range(0, count, at_once):
            self._waves += 1
            marker = f"{self._prefix}-{self._waves}"
            tasks = [_task(kind, marker, index, content) for index in range(min(at_once, count - first))]
            made = await insist(partial(self._client.batch, tasks, marker, marker))
            seconds += filter(None, await asyncio.gather(*map(self._cancel, made.ids)))
        return seconds

    async def _cancel(self, task_id: str) -> float | None:
        start = await self._watch.seen(task_id, "start", _START_SECONDS)
        if start is None:
            self._finding.violations.append(f"{task_id} did not start within {_START_SECONDS:g} s")
            return None
        await asyncio.sleep(self._random.uniform(0, _LONGEST_RUN_SECONDS))
        call = await self._client.cancel(task_id)
        if call.outcome is not Outcome.OK:
            self._finding.violations.append(f"{task_id}: its cancel was answered {call.code}")
            return None
        end = await self._end(task_id, start.pid)
        if end is None:
            self._finding.violations.append(f"{task_id} still runs {_STOP_SECONDS:g} s after its cancel")
            return None
        return end - call.invoked

    async def _end(self, task_id: str, pid: int) -> float | None:
        """When it has stopped: by its own word, or because its process is gone."""
        give_up = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < give_up:
            run = await self._watch.seen(task_id, "canceled", _LOOK_SECONDS)
            if run is not None:
                return run.at
            if _is_gone(pid):
                return time.time()
        return None


def _is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def _task(kind: str, marker: str, index: int, content: Mapping[str, Any]) -> dict[str, Any]:
    about = {"marker": marker, "index": index, "seconds": _LENGTH_SECONDS, **content}
    return {"kind": kind, "priority": "high", "max_attempts": 1, "content": about}


async def _inject(scene: Scene, dose: int, random: Random) -> Finding:
    finding = Finding()
    few = max(2, dose // 10)
    async with Client(scene.processes.url, scene.history.calls) as client, watching(scene.runs) as watch:
        cancels = _Cancels(client, watch, random, finding)
        with scene.injecting("cancel-running", "with Redis"):
            told = await cancels.stopped("chaos_sleep", dose, _WAVE)
        with scene.injecting("cancel-running", "in child processes"):
            blocked = await cancels.stopped("chaos_block_in_child", max(2, few // 5), _CHILDREN)
            deaf = await cancels.stopped("chaos_block_in_child", max(2, few // 10), _CHILDREN, is_deaf=True)
        with scene.injecting("cancel-running", "without Redis"):
            await scene.servers.stop_redis()
            try:
                untold = await cancels.stopped("chaos_sleep", few, _WAVE)
            finally:
                await scene.servers.start_redis()
    finding.injected = len(told)  # the others are counted beside it
    _hold(finding, "with Redis", told, 0.99, _TOLD_SECONDS)
    _hold(finding, "without Redis", untold, 1, _UNTOLD_SECONDS)
    _hold(finding, "blocking, in a child process", blocked, 1, _KILLED_SECONDS)
    _hold(finding, "the same, deaf to SIGTERM", deaf, 1, _KILLED_SECONDS)
    return finding


def _hold(finding: Finding, where: str, seconds: Sequence[float], share: float, bound: float) -> None:
    """This share must have stopped within the bound."""
    if not seconds:
        finding.violations.append(f"{where}: nothing was canceled")
        return
    measured = quantile(seconds, share)
    name = "at most" if share == 1 else f"p{share * 100:.0f}"
    finding.facts[f"stopped, {where}"] = f"{spread(seconds)}, {len(seconds)} runs"
    if measured > bound:
        finding.violations.append(f"{where}: {name} {measured * 1e3:.0f} ms, and not {bound * 1e3:.0f} ms")


RUNNING = Fault(
    "cancel-running",
    "cancel of running",
    1_000,
    f"p99 ≤ {_TOLD_SECONDS * 1e3:.0f} ms; each ≤ {_JITTER:g} beats + {_MEASURE_SECONDS:g} s without Redis, "
    f"and ≤ the grace + {_KILL_SECONDS:g} s in child processes",
    _inject,
)
