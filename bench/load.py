"""The load generator: wrk."""

import asyncio
import math
import os
import re
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

_LUA = Path(__file__).parent / "lua"
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw. `failed` counts answers other than 2xx, and connections that broke or timed out."""

    per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


async def post(url: str, body: str, connections: int, seconds: float) -> Load:
    """POST this JSON to the URL over and over, on so many connections."""
    return await _wrk(url, connections, seconds, "post.lua", {"BENCH_BODY": body})


async def get(url: str, ids: Sequence[str], connections: int, seconds: float) -> Load:
    """GET url/id over and over, of any of these ids, on so many connections."""
    with NamedTemporaryFile("w", prefix="taskmill-bench-", suffix=".ids") as file:
        file.write("\n".join(ids) + "\n")
        file.flush()
        variables = {"BENCH_IDS": file.name, "BENCH_SEED": str(time.time_ns() % 2**30)}
        return await _wrk(url, connections, seconds, "get.lua", variables)


async def _wrk(url: str, connections: int, seconds: float, script: str, variables: dict[str, str]) -> Load:
    process = await asyncio.create_subprocess_exec(
        *(
            "wrk",
            f"-t{min(2, connections)}",
            f"-c{connections}",
            f"-d{math.ceil(seconds)}s",
            "--timeout",
            "10s",
            "--latency",
        ),
        *("-s", str(_LUA / script), url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | variables,
    )
    try:
        async with asyncio.timeout(seconds + 30):
            if seconds % 1:  # it takes whole seconds, and tells what it has found until then when it is interrupted
                await asyncio.sleep(seconds)
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return parse(output.decode())


def parse(output: str) -> Load:
    """What wrk has printed. Raises ValueError where that is no result."""
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", output, re.MULTILINE)
    total = re.search(r"(\d+) requests in", output)
    if rate is None or total is None:
        raise ValueError(f"wrk says: {output.strip()[-500:]}")
    percentiles = {
        share: float(value) * _MILLISECONDS[unit]
        for share, value, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", output, re.MULTILINE)
    }
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.search(r"Socket errors: (.*)", output)
    failed = int(other[1]) if other else 0
    failed += sum(map(int, re.findall(r"\d+", broken[1]))) if broken else 0
    return Load(float(rate[1]), percentiles["50"], percentiles["99"], int(total[1]), failed)
