"""Hosts whose clock is an hour fast or slow."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from uuid import UUID

from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.insisting import insist
from tests.chaos.process import Process
from tests.chaos.processes import Processes
from tests.chaos.recovery import MEASURE_SECONDS, ended
from tests.chaos.scene import LEASE_SECONDS, POLL_SECONDS, Scene
from tests.chaos.spread import spread
from tests.support.types import Connection

_HOUR = 3_600
_TASKS = 40  # of each sort, at each round
_DELAY_SECONDS = 3.0
_LONG_SECONDS = LEASE_SECONDS + 1
_END_SECONDS = 60.0
_PUNCTUAL_SECONDS = POLL_SECONDS * 1.1 + MEASURE_SECONDS

_ENDS = """
SELECT status || ', attempt ' || attempt || ', lost ' || lost_count, count(*) FROM tasks
WHERE id = ANY($1::uuid[]) GROUP BY 1
"""
_LATE = """
SELECT extract(epoch FROM audit.at - tasks.run_at)::float8
FROM tasks JOIN audit ON audit.task = tasks.id AND audit.new = 'processing' WHERE tasks.id = ANY($1::uuid[])
"""
_OWN = "SELECT count(*) FROM audit WHERE new = 'processing' AND consumer = ANY($1::uuid[])"
# What PostgreSQL's clock has not written.
_STRANGE = """
SELECT id::text FROM tasks WHERE id = ANY($1::uuid[]) AND (
    abs(extract(epoch FROM created_at - now())) > 600 OR abs(extract(epoch FROM run_at - now())) > 600
    OR abs(extract(epoch FROM started_at - now())) > 600 OR abs(extract(epoch FROM finished_at - now())) > 600)
"""


async def _shift(scene: Scene, dose: int, random: Random) -> Finding:
    """Pairs of hosts, an hour fast and an hour slow, each a consumer and an API, beside one consumer that is right."""
    finding, late, claimed = Finding(), list[float](), 0
    library = _libfaketime()
    sql = await scene.servers.connect()
    for first in range(0, dose, 2):
        shifts = random.sample((-_HOUR, _HOUR), min(2, dose - first))
        prefix = f"clock-{random.getrandbits(32):08x}"
        async with AsyncExitStack() as stack:
            stack.enter_context(scene.injecting("clock", f"{shifts}"))
            await stack.enter_async_context(scene.processes.fewer("consumer", 1))
            await stack.enter_async_context(scene.processes.fewer("api", 0))
            consumers = await _start(scene.processes, stack, shifts, library)
            finding.violations += [
                f"the clock of consumer {one.pid} is not wrong" for one in consumers if _shift_by_log(one) < _HOUR / 2
            ]
            async with Client(scene.processes.url, scene.history.calls, 4 * _TASKS) as client:
                finding.violations += await _work(client, sql, prefix, late)
            claimed += await sql.fetchval(_OWN, [one.consumer_id for one in consumers])
        finding.injected += len(shifts)
    await sql.close()
    finding.facts = {
        "by": "libfaketime" if library else "a shifted time source (for libfaketime: apt-get install libfaketime)",
        "tasks claimed by consumers with a wrong clock": str(claimed),
        f"delayed for {_DELAY_SECONDS:g} s, started late by": spread(late),
    }
    return finding


async def _start(
    processes: Processes, stack: AsyncExitStack, shifts: Sequence[int], library: Path | None
) -> Sequence[Process]:
    """The consumers, beside which there are as many APIs."""
    consumers = []
    for shift in shifts:
        environment = _preload(library, shift) if library else {}
        arguments = () if library else ("--shift", str(shift))
        await stack.enter_async_context(processes.besides("api", environment, *arguments, is_plain=True))
        place = await stack.enter_async_context(processes.besides("consumer", environment, *arguments, is_plain=True))
        assert place.process is not None
        consumers.append(place.process)
    return consumers


def _preload(library: Path, shift: int) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{shift:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Otherwise its waits by the monotonic clock, with which Python hands the interpreter from thread to thread,
        # take up to a second, and no heartbeat gets through: https://github.com/wolfcw/libfaketime/issues/469
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


async def _work(client: Client, sql: Connection, prefix: str, late: list[float]) -> list[str]:
    """Short, long, delayed and canceled tasks; what has not ended as it should."""
    short = await _create(client, f"{prefix}-short", 0.05)
    delayed = await _create(client, f"{prefix}-later", 0.05, delay_seconds=_DELAY_SECONDS)
    longer = await _create(client, f"{prefix}-long", _LONG_SECONDS)
    canceled = await _create(client, f"{prefix}-gone", _END_SECONDS)
    wrong = [f"{prefix}: the API's clock is right, by the id {task}" for task in short if _shift_of(task) < _HOUR / 2]
    await asyncio.sleep(1)
    await asyncio.gather(*(insist(partial(client.cancel, task)) for task in canceled))
    everything = [*short, *delayed, *longer, *canceled]
    await ended(sql, everything, _END_SECONDS, "the tasks of a host with a wrong clock")
    for name, ids, end in (
        ("short", short, "completed, attempt 1, lost 0"),
        ("delayed", delayed, "completed, attempt 1, lost 0"),
        ("longer than a lease", longer, "completed, attempt 1, lost 0"),
        ("canceled", canceled, "canceled, attempt 1, lost 0"),
    ):
        ends = {row[0]: row[1] for row in await sql.fetch(_ENDS, ids)}
        if ends != {end: _TASKS}:
            wrong.append(f"{prefix}: of {_TASKS} tasks ({name}) {ends}")
        wrong += [f"task {row[0]} has times that are not PostgreSQL's" for row in await sql.fetch(_STRANGE, ids)]
    seconds = [row[0] for row in await sql.fetch(_LATE, delayed)]
    wrong += [
        f"{prefix}: a delayed task started {each:+.2f} s late" for each in seconds if not 0 <= each <= _PUNCTUAL_SECONDS
    ]
    late += seconds
    return wrong


async def _create(client: Client, marker: str, seconds: float, **delay: float) -> Sequence[str]:
    creates = [
        partial(client.create, _task(f"{marker}-{n}", seconds) | delay, f"{marker}-{n}", f"{marker}-{n}")
        for n in range(_TASKS)
    ]
    return [call.ids[0] for call in await asyncio.gather(*map(insist, creates))]


def _task(marker: str, seconds: float) -> dict[str, object]:
    return {"kind": "chaos_sleep", "priority": "high", "content": {"marker": marker, "seconds": seconds}}


def _shift_of(task: str) -> float:
    """Seconds by which the clock was wrong that has made this id (UUID version 7)."""
    return abs((UUID(task).int >> 80) / 1_000 - time.time())


def _shift_by_log(process: Process) -> float:
    """The same of the clock by which this process has written its log."""
    first = next(line for line in process.output().splitlines() if line.startswith("{"))
    return abs(datetime.fromisoformat(json.loads(first)["timestamp"]).timestamp() - process.begun)


def _libfaketime() -> Path | None:
    """Where it is: LIBFAKETIME, or Debian's place."""
    named = os.environ.get("LIBFAKETIME")
    found = [Path(named)] if named else sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return found[0] if found else None


CLOCK = Fault(
    "clock",
    "clock of a host ±1 h",
    10,
    "no effect: claimed, run, canceled; delayed tasks on time by PostgreSQL's clock; no lease lost",
    _shift,
)

FAULTS = (CLOCK,)
