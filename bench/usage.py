"""What processes use of the machine, as /proc tells it (Linux)."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from tests.support.servers import Servers

_PROC = Path("/proc")


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time so far of these processes and of what they have started, to 10 ms each."""
    total = 0
    for pid in tree(pids):
        with suppress(OSError):
            total += sum(map(int, _stat(pid)[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


def lasting_cpu_seconds(pids: Iterable[int]) -> float:
    """As cpu_seconds, with those of their children that have ended: PostgreSQL's server processes come and go."""
    roots = list(pids)
    ended = 0
    for pid in roots:
        with suppress(OSError):
            ended += sum(map(int, _stat(pid)[13:15]))
    return cpu_seconds(roots) + ended / os.sysconf("SC_CLK_TCK")


async def server_pids(servers: Servers) -> list[int]:
    """PostgreSQL's first process and Redis; none where one of them is on another machine, or in a container."""
    sql = await asyncpg.connect(servers.database_url)
    try:
        backend = await sql.fetchval("SELECT pg_backend_pid()")
        postgres = [int(_stat(pid)[1]) for pid in only_postgres([backend])]
    finally:
        await sql.close()
    async with Redis.from_url(servers.redis_url) as redis:
        of_redis = int((await redis.info("server"))["process_id"])
    with suppress(OSError):
        if postgres and (_PROC / str(of_redis) / "comm").read_text().startswith(("valkey", "redis")):
            return [*postgres, of_redis]
    return []


def peak_mib(pids: Iterable[int]) -> float:
    """The most resident memory that each of these has had, added up."""
    total = 0
    for pid in tree(pids):
        with suppress(OSError):
            peak = re.search(r"VmHWM:\s+(\d+) kB", (_PROC / str(pid) / "status").read_text())
            total += int(peak[1]) if peak else 0
    return total / 1024


def tree(pids: Iterable[int]) -> list[int]:
    """These and their descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found: list[int] = []
    wanted = list(pids)
    while wanted:
        pid = wanted.pop()
        found.append(pid)
        wanted += children.get(pid, [])
    return found


def only_postgres(pids: Iterable[int]) -> list[int]:
    """Those that are PostgreSQL's on this machine: the server may be on another, or in a container."""
    found = []
    for pid in pids:
        with suppress(OSError):
            if (_PROC / str(pid) / "comm").read_text().startswith("postgres"):
                found.append(pid)
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: the state is number 0."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
