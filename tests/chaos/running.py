"""A whole service on servers of its own, made for being broken."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from tests.chaos.audit import install, read_audit
from tests.chaos.checks.claims import MAX_LOST
from tests.chaos.history import History
from tests.chaos.lateness import watched_lateness
from tests.chaos.load import Load
from tests.chaos.processes import Processes
from tests.chaos.runs import read_runs
from tests.chaos.scene import BEAT_SECONDS, DRAIN_SECONDS, GRACE_SECONDS, LEASE_SECONDS, POLL_SECONDS, Scene
from tests.chaos.servers import ChaosServers, chaos_servers

BUILDS = {
    "normal": "",
    "hears-late": "tests.chaos.builds.hears_late",
    "by-id": "tests.chaos.builds.by_id",
    "by-status": "tests.chaos.builds.by_status",
}
_WITHOUT_CHILDREN = {"CONSUMER_QUEUES": "default"}
FOLDER_MODE = 0o755  # PostgreSQL and Valkey may run as another user


@asynccontextmanager
async def running(folder: Path, seed: int, build: str = "normal") -> AsyncIterator[Scene]:
    """Servers, 2 APIs and 6 consumers in an empty folder; clients that have not begun. Half of them use the links."""
    history = History()
    logs, runs = folder / "logs", folder / "runs"
    for each in (folder.parent, folder, logs, runs):
        each.mkdir(parents=True, exist_ok=True)
        each.chmod(FOLDER_MODE)
    async with chaos_servers(folder) as servers:
        sql = await servers.connect()
        await install(sql)
        await sql.close()
        linked = {role: _through(servers, role) for role in ("api", "consumer")}
        processes = Processes(
            logs,
            _settings(servers, runs),
            consumers=[
                *({}, _WITHOUT_CHILDREN, _WITHOUT_CHILDREN),  # children cost a second of CPU at each start
                *(linked["consumer"] | _WITHOUT_CHILDREN for _ in range(3)),
            ],
            apis=[{}, linked["api"]],
            first=BUILDS[build],
        )
        await processes.start_all()
        try:
            urls = [processes.url, servers.aim_clients(*_address(processes.url))]
            load = Load(urls, history, Random(f"{seed}:load"), servers.connect)
            async with watched_lateness(servers.connect) as lateness:
                yield Scene(servers, processes, load, history, runs, lateness)
        finally:
            await processes.stop_all()


def _settings(servers: ChaosServers, runs: Path) -> dict[str, str]:
    settings: Mapping[str, object] = {
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "HANDLER_MODULES": "tests.chaos.handlers",
        "CHAOS_FOLDER": runs,
        "BEAT_SECONDS": BEAT_SECONDS,
        "LEASE_SECONDS": LEASE_SECONDS,
        "POLL_SECONDS": POLL_SECONDS,
        "CANCEL_GRACE_SECONDS": GRACE_SECONDS,
        "MAX_LOST": MAX_LOST,
        "CONSUMER_CONCURRENCY": 50,
        "CHILD_PROCESSES": 1,  # and as many quarantines beside each: six consumers share what may be two cores
        "DRAIN_SECONDS": DRAIN_SECONDS,
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "json",
    }
    return {name: str(value) for name, value in settings.items()}


def _through(servers: ChaosServers, role: str) -> dict[str, str]:
    return {
        "DATABASE_URL": servers.url_through(f"{role}-postgres"),
        "REDIS_URL": servers.url_through(f"{role}-redis"),
    }


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


async def read_all(scene: Scene) -> History:
    """The whole history, once the load has settled."""
    sql = await scene.servers.connect()
    try:
        await read_audit(sql, scene.history)
    finally:
        await sql.close()
    scene.history.runs = await asyncio.to_thread(read_runs, scene.runs)
    scene.history.injected += scene.lateness.spells()
    return scene.history
