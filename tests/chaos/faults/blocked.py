"""Handlers that block their consumer's event loop for longer than the lease."""

from contextlib import AsyncExitStack
from random import Random
from typing import NamedTuple

from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.insisting import insist
from tests.chaos.history import Call, Run
from tests.chaos.process import Why
from tests.chaos.recovery import ended
from tests.chaos.runs import Watch, watching
from tests.chaos.scene import LEASE_SECONDS, Scene
from tests.support.types import Connection

_AT_ONCE = 3
_BLOCK_SECONDS = 3 * LEASE_SECONDS
_WATCHDOG_SECONDS = 1.5
_WATCHED = 4  # consumers that are ended by their watchdogs
_END_SECONDS = 6 * _BLOCK_SECONDS
_NOTE_SECONDS = 1.0
_MOST_TRIES = 3  # for each that blocks

_ENDS = "SELECT id::text, status, lost_count FROM tasks WHERE id = ANY($1::uuid[])"


async def _block(scene: Scene, dose: int, random: Random) -> Finding:
    """The first half while the heartbeat holds the lease; the rest where the watchdog ends the process."""
    sql = await scene.servers.connect()
    prefix = f"block-{random.getrandbits(32):08x}"
    async with Client(scene.processes.url, scene.history.calls, 1) as client, watching(scene.runs) as watch:
        blocks = _Blocks(scene, client, watch, sql)
        held = await blocks.held(f"{prefix}-held", (dose + 1) // 2)
        watched = await blocks.ended(f"{prefix}-ended", dose // 2)
    finding = blocks.finding
    finding.injected = held + watched
    finding.facts = {
        "blocked for 3 leases, by their own notes, and completed where they were": str(held),
        "blocked until the watchdog ended the process, then recovered and completed": str(watched),
    }
    await sql.close()
    return finding


class _Blocked(NamedTuple):
    """A first run of a blocking task. `end`: its own note of it; `lost`: how often the task has been lost, since."""

    began: Run
    end: Run | None
    lost: int


class _Blocks:
    """Has tasks block, some at a time, until as many as are wanted have really done so."""

    def __init__(self, scene: Scene, client: Client, watch: Watch, sql: Connection) -> None:
        self.finding = Finding()
        self._scene = scene
        self._client = client
        self._watch = watch
        self._sql = sql

    async def held(self, prefix: str, dose: int) -> int:
        """Of consumers whose lease goes on. How many have blocked for all of their time."""
        done = 0
        for first in range(0, _MOST_TRIES * dose, _AT_ONCE):
            for began, end, lost in await self._round(f"{prefix}-{first}", min(_AT_ONCE, dose - done)):
                done += end is not None and end.at - began.at >= _BLOCK_SECONDS
                if lost:
                    text = f"task {began.task} was lost {lost} times while its consumer lived"
                    self.finding.violations.append(text)
            if done >= dose:
                break
        return done

    async def ended(self, prefix: str, dose: int) -> int:
        """Of consumers with a watchdog. How many blocked until it ended their process."""
        if not dose:
            return 0
        done, exits = 0, self._scene.processes.exits
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._scene.processes.fewer("consumer", 0))
            for _ in range(_WATCHED):
                watchdog = {"LOOP_BLOCKED_SECONDS": str(_WATCHDOG_SECONDS)}
                await stack.enter_async_context(self._scene.processes.besides("consumer", watchdog))
            stack.enter_context(self._scene.processes.allowing(Why.WATCHDOG, "block-loop"))
            for first in range(0, _MOST_TRIES * dose, _AT_ONCE):
                runs = await self._round(f"{prefix}-{first}", min(_AT_ONCE, dose - done))
                watched = {end.pid for end in exits if end.why is Why.WATCHDOG}
                done += sum(end is None and began.pid in watched and lost > 0 for began, end, lost in runs)
                if done >= dose:
                    break
        return done

    async def _round(self, marker: str, count: int) -> list[_Blocked]:
        """Have so many tasks block, and wait for their ends."""
        begun: dict[str, Run | None] = {}
        with self._scene.injecting("block-loop", marker):
            for number in range(count):
                # One after another, so that each goes to a consumer of its own.
                (task,) = (await self._create(f"{marker}-{number}")).ids
                begun[task] = await self._watch.seen(task, "start", _BLOCK_SECONDS)
            await ended(self._sql, begun, _END_SECONDS, "the blocking tasks")
        blocked = []
        for task, status, lost in await self._sql.fetch(_ENDS, list(begun)):
            if status != "completed":
                self.finding.violations.append(f"blocking task {task} is {status}")
            began, end = begun[task], await self._watch.seen(task, "done", _NOTE_SECONDS)
            if began is not None and began.attempt == 1:
                blocked.append(_Blocked(began, end if end and end.claim == began.claim else None, lost))
        return blocked

    async def _create(self, marker: str) -> Call:
        content = {"marker": marker, "seconds": _BLOCK_SECONDS, "first": True}
        task = {"kind": "chaos_block", "content": content, "priority": "high"}
        return await insist(lambda: self._client.create(task, marker, marker))


BLOCK = Fault(
    "block-loop",
    "event loop blocked for 3 x lease",
    50,
    "no false recovery; or, where LOOP_BLOCKED_SECONDS is less, ended by the watchdog, recovered and completed",
    _block,
)

FAULTS = (BLOCK,)
