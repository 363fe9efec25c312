"""What a run is on."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path
from statistics import median

import asyncpg
from redis.asyncio import Redis

from tests.support.servers import Servers


def machine() -> str:
    """Cores, memory and kernel."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = cpu[1] if cpu else platform.machine()
    return f"{os.cpu_count()} cores ({name}), {memory:.0f} GiB, {platform.system()}"


def commit() -> str:
    """Of the source, with a + where it was changed since; nothing where git does not know."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        return f"{name}+" if _git("status", "--porcelain", "--untracked-files=no", "app", "bench") else name
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def loop_ms() -> float:
    """What one core takes to add up a million numbers in Python: what runs of different hours can be compared by."""
    times = []
    for _ in range(5):
        begin, total = time.perf_counter(), 0
        for number in range(1_000_000):
            total += number
        times.append(time.perf_counter() - begin)
    return 1_000 * median(times)


def stolen_ticks() -> tuple[int, int]:
    """Of the time of all cores since the start: what the machine's host gave to others, and all. proc(5)."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)


async def versions(servers: Servers) -> dict[str, str]:
    """Of what everybody runs on."""
    sql = await asyncpg.connect(servers.database_url)
    try:
        of_sql = str(await sql.fetchval("SHOW server_version")).split()[0]
        fsync = await sql.fetchval("SHOW fsync")
    finally:
        await sql.close()
    async with Redis.from_url(servers.redis_url) as redis:
        of_redis = await redis.info("server")
    name = "Valkey" if "valkey_version" in of_redis else "Redis"
    return {
        "Python": platform.python_version(),
        "PostgreSQL": f"{of_sql} (fsync {fsync})",
        name: str(of_redis.get("valkey_version") or of_redis["redis_version"]),
    }
