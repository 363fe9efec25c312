"""What a run is on."""

import os
import platform
import re
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from tests.support.servers import Servers


def machine() -> str:
    """Cores, memory and kernel."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = cpu[1] if cpu else platform.machine()
    return f"{os.cpu_count()} cores ({name}), {memory:.0f} GiB, {platform.system()}"


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
