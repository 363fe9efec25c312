"""PostgreSQL has no more room on its disk, or no more connections to give."""

import asyncio
import time
from random import Random
from typing import TYPE_CHECKING

import asyncpg

from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.postgres import BACK_SECONDS, conclude
from tests.chaos.probe import Probe
from tests.support.types import Connection

if TYPE_CHECKING:
    from tests.chaos.scene import Scene
    from tests.chaos.servers import ChaosServers

FULL_SECONDS = (2.0, 5.0)  # shorter and longer than a lease
HELD_SECONDS = (1.5, 4.0)
_LOOK_SECONDS = 0.1
_AT_ONCE = 20
_PAUSE_SECONDS = 2.0

_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'taskmill'"
_TROUBLE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def disk_full(scene: "Scene", dose: int, random: Random) -> Finding:
    """No room: for tables, and every other time for WAL too, at which PostgreSQL panics and may not even start."""
    finding, disk, backs = Finding(), scene.servers.disk, list[float]()
    if disk.missing:
        finding.skipped = disk.missing
        return finding
    panics = 0
    async with Probe(scene.processes.url, scene.history.calls) as probe:
        for number in range(dose):
            pid, refused = scene.servers.postgresql.pid, sum(probe.refused.values())
            with scene.injecting("disk-full", "postgresql"):
                try:
                    full_until = time.monotonic() + random.choice(FULL_SECONDS)
                    while time.monotonic() < full_until:
                        await asyncio.to_thread(disk.fill)
                        if number % 2:
                            await _use_wal(scene.servers)
                        scene.servers.supervise_postgres()
                        await asyncio.sleep(_LOOK_SECONDS)
                finally:
                    disk.free()
            finding.injected += 1
            freed = time.time()
            await scene.servers.revive_postgres()
            panics += pid != scene.servers.postgresql.pid
            if sum(probe.refused.values()) == refused:
                finding.violations.append("the disk was full, and no create was refused: nothing is shown")
            await _note_return(finding, probe, freed, backs, "the room's return")
            await asyncio.sleep(_PAUSE_SECONDS)
    scene.sql = await scene.servers.connect()
    await conclude(finding, probe, scene, backs)
    finding.facts["PostgreSQL had to be started again"] = f"{panics} times"
    return finding


async def out_of_connections(scene: "Scene", dose: int, random: Random) -> Finding:
    """All connections are taken by others, and those of the service are closed."""
    finding, backs = Finding(), list[float]()
    async with Probe(scene.processes.url, scene.history.calls) as probe:
        for _ in range(dose):
            refused = sum(probe.refused.values())
            with scene.injecting("no-connections", "postgresql"):
                held = await _take_all(scene.servers)
                await asyncio.sleep(random.choice(HELD_SECONDS))
                for connection in held:
                    connection.terminate()
            finding.injected += 1
            if sum(probe.refused.values()) == refused:
                finding.violations.append("there were no connections, and no create was refused: nothing is shown")
            await _note_return(finding, probe, time.time(), backs, "the connections' return")
            await asyncio.sleep(_PAUSE_SECONDS)
    await conclude(finding, probe, scene, backs)
    return finding


async def _note_return(finding: Finding, probe: Probe, since: float, backs: list[float], what: str) -> None:
    back = await probe.accepts(since, BACK_SECONDS)
    if back is None:
        finding.violations.append(f"no 201 within {BACK_SECONDS:g} s of {what}")
    else:
        backs.append(back)


async def _use_wal(servers: "ChaosServers") -> None:
    """Have the next segment of WAL begun, which takes 16 MB where none is kept for it."""
    try:
        sql = await asyncpg.connect(servers.superuser_url, timeout=1)
    except _TROUBLE:
        return
    try:
        await sql.execute("SELECT pg_switch_wal()", timeout=1)
    except _TROUBLE:
        pass
    finally:
        sql.terminate()


async def _take_all(servers: "ChaosServers") -> list[Connection]:
    """Connect until no connection is left, and none of them is the service's."""
    held: list[Connection] = []
    admin = await asyncpg.connect(servers.superuser_url)
    try:
        while True:
            await admin.execute(_TERMINATE)
            connecting = (servers.connect() for _ in range(_AT_ONCE))
            opened = await asyncio.gather(*connecting, return_exceptions=True)
            new = [connection for connection in opened if not isinstance(connection, BaseException)]
            held += new
            if not new and not await admin.fetch(_TERMINATE):
                return held
    finally:
        await admin.close()


FAULTS = (
    Fault("disk-full", "PostgreSQL disk full", 5, "clear errors, no false 201, recovers by itself", disk_full),
    Fault(
        "no-connections",
        "PostgreSQL out of connections",
        5,
        "clear errors, no false 201, recovers by itself",
        out_of_connections,
    ),
)
