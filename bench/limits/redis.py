"""Redis: what redis-benchmark gets out of it, and one Python process with redis-py."""

import asyncio
import time
from urllib.parse import urlsplit

from redis.asyncio import Redis

from bench.contender import Unable

_KEY = "taskmill-bench"
_VALUE = "5f0c1d0e-9c1b-4a57-8c4e-9a1e7f3a1b2c"
_AT_A_TIME = 20_000  # requests of redis-benchmark between two looks at the clock


async def benchmark(url: str, pipeline: int, seconds: float) -> float:
    """RPUSH a second from 50 connections, so many commands in flight on each. Raises Unable where that fails."""
    parts = urlsplit(url)
    where = ("-s", parts.path) if parts.scheme == "unix" else ("-u", url)
    done = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        process = await asyncio.create_subprocess_exec(
            *("redis-benchmark", *where, "-q", "-c", "50", "-P", str(pipeline), "-n", str(_AT_A_TIME * pipeline)),
            *("RPUSH", _KEY, _VALUE),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
        if process.returncode or "requests per second" not in output:
            raise Unable(f"redis-benchmark says: {output.strip()[-300:]}")
        done += _AT_A_TIME * pipeline
        await _forget(url)
    return done / (time.perf_counter() - begin)


async def pushes(url: str, values: int, seconds: float) -> float:
    """Values a second from one Python process: so many in one RPUSH, one after another."""
    return await _repeat(url, values, seconds, pipelined=False)


async def pipelines(url: str, commands: int, seconds: float) -> float:
    """Commands a second from one Python process: so many RPUSH in one pipeline, one after another."""
    return await _repeat(url, commands, seconds, pipelined=True)


async def _repeat(url: str, width: int, seconds: float, *, pipelined: bool) -> float:
    async with Redis.from_url(url) as redis:
        done = 0
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            if pipelined:
                async with redis.pipeline(transaction=False) as pipeline:
                    for _ in range(width):
                        pipeline.rpush(_KEY, _VALUE)
                    await pipeline.execute()
            else:
                await redis.rpush(_KEY, *[_VALUE] * width)
            done += width
        took = time.perf_counter() - begin
    await _forget(url)
    return done / took


async def _forget(url: str) -> None:
    async with Redis.from_url(url) as redis:
        await redis.unlink(_KEY)
