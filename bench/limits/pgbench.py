"""PostgreSQL as pgbench sees it: a durable insert of one row after another."""

import asyncio
import re
import shutil
from tempfile import NamedTemporaryFile

import asyncpg

from app.embedded.errors import StartError
from app.embedded.postgres import programs_folder
from bench.contender import Unable
from bench.limits.postgres import CONTENT, FRESH

_SCRIPT = f"""INSERT INTO task (id, kind, status, content, created_at)
VALUES (gen_random_uuid(), 'noop', 'pending', '{CONTENT}', now());
""".replace("\n", " ")


async def inserts(url: str, clients: int, seconds: float) -> float:
    """Rows a second, each committed by itself, from so many connections. Raises Unable where there is no pgbench."""
    connection = await asyncpg.connect(url)
    await connection.execute(FRESH)
    await connection.close()
    with NamedTemporaryFile("w", prefix="taskmill-bench-", suffix=".sql") as script:
        script.write(_SCRIPT)
        script.flush()
        process = await asyncio.create_subprocess_exec(
            *(_program(), "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(2, clients))),
            *("-T", str(max(1, round(seconds))), "-f", script.name, url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
    found = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
    if found is None:
        raise Unable(f"pgbench says: {output.strip()[-300:]}")
    return float(found[1])


def _program() -> str:
    try:
        return str(programs_folder() / "pgbench")
    except StartError:
        path = shutil.which("pgbench")
        if path is None:
            raise Unable("pgbench is not installed: apt install postgresql-contrib") from None
        return path
