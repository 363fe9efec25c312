"""PostgreSQL has no more room on its disk, or no more connections to give."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

import asyncpg

from tests.chaos.fault import Fault, Finding
from tests.chaos.probe import Probe, conclude, note_return
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
    """No room for tables, and the first and every other time for WAL too: PostgreSQL panics, and may not even start."""
    if scene.servers.disk.missing:
        return Finding(skipped=scene.servers.disk.missing)
    panics = 0

    async def once(number: int) -> None:
        nonlocal panics
        pid = scene.servers.postgresql.pid
        try:
            await _keep_full(scene.servers, random.choice(FULL_SECONDS), takes_wal=number % 2 == 0)
        finally:
            scene.servers.disk.free()
        await scene.servers.revive_postgres()
        panics += pid != scene.servers.postgresql.pid

    finding = await _repeat(scene, dose, "disk-full", once)
    finding.facts["PostgreSQL had to be started again"] = f"{panics} times"
    return finding


async def out_of_connections(scene: "Scene", dose: int, random: Random) -> Finding:
    """All connections are taken by others, and those of the service are closed."""

    async def once(_: int) -> None:
        held = await _take_all(scene.servers)
        await asyncio.sleep(random.choice(HELD_SECONDS))
        for connection in held:
            connection.terminate()

    return await _repeat(scene, dose, "no-connections", once)


async def _repeat(scene: "Scene", dose: int, name: str, once: Callable[[int], Awaitable[None]]) -> Finding:
    finding, backs = Finding(), list[float]()
    probe = Probe(scene.processes.url, scene.history.calls)
    async with probe:
        for number in range(dose):
            refused = sum(probe.refused.values())
            with scene.injecting(name, "postgresql"):
                await once(number)
            finding.injected += 1
            if sum(probe.refused.values()) == refused:
                finding.violations.append("no create was refused meanwhile, so nothing is shown")
            await note_return(finding, probe, time.time(), backs, f"the end of {name}")
            await asyncio.sleep(_PAUSE_SECONDS)
    await conclude(finding, probe, scene, backs)
    return finding


async def _keep_full(servers: "ChaosServers", seconds: float, *, takes_wal: bool) -> None:
    """Whatever room PostgreSQL gives back is taken again, and where it ends it is started again."""
    full_until = time.monotonic() + seconds
    while time.monotonic() < full_until:
        await asyncio.to_thread(servers.disk.fill)
        if takes_wal:
            await _use_wal(servers)
        servers.supervise_postgres()
        await asyncio.sleep(_LOOK_SECONDS)


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
