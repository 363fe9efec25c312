"""What open streams cost, how soon an event arrives after its COMMIT, and how SIGTERM ends them.

`.venv/bin/python -m bench.live`: servers of its own, or those of DATABASE_URL and REDIS_URL. One API process and one
consumer; the clients of all streams run here, on the same machine, so their own delay counts along.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import uvloop
from aiohttp import ClientSession, TCPConnector

from bench.servers import migrated_servers
from tests.support.api import APP, OPTIONS, listen, url_of

ROOT = Path(__file__).parents[1]
OTHERS_PER_SECOND = 200
SPREAD_SECONDS = 15
SETTINGS = {"LOG_LEVEL": "warning", "MAX_STREAMS": "100000", "CONSUMER_CONCURRENCY": "500"}


class Watching(asyncio.Protocol):
    """One stream's client: notes how long after its change each event has arrived."""

    def __init__(self, task_id: str, delays: list[float]) -> None:
        self._task_id = task_id
        self._delays = delays
        self._unread = b""
        self.first = asyncio.get_running_loop().create_future()
        self.has_ended_well = False
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the events."""
        cast("asyncio.Transport", transport).write(
            f"GET /task/{self._task_id}/events HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take what is complete."""
        now = time.time()
        *blocks, self._unread = (self._unread + data).split(b"\n\n")
        for block in blocks:
            _, found, event = block.partition(b"\ndata: ")
            if found and not self.first.done():
                self.first.set_result(None)
            elif found and (changed_at := json.loads(event)["updated_at"]):
                self._delays.append(now - datetime.fromisoformat(changed_at).timestamp())
        self.has_ended_well = self._unread.endswith(b"0\r\n\r\n")

    def connection_lost(self, _: Exception | None) -> None:
        """It has ended."""
        self.ended.set_result(None)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--streams", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=600, help="tasks that run while they are watched")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with migrated_servers():
        uvloop.run(_measure(options.streams, options.events))


async def _measure(streams: int, events: int) -> None:
    with listen() as listener:
        url, port = url_of(listener), listener.getsockname()[1]
        api = _start(["-m", "uvicorn", *APP, *OPTIONS, "10"], listener.fileno())
    consumer = _start(["-m", "app.consumer"])
    try:
        async with ClientSession(url, connector=TCPConnector(limit=20)) as client:
            await _warm_up(client)
            base = _resident(api.pid)
            idle = [await _create(client, delay_seconds=86_400) for _ in range(streams)]
            quiet = await _open(port, idle, [])
            held = _resident(api.pid)
            _say(f"{streams} open streams", f"{(held - base) / 2**20:.1f} MiB over {base / 2**20:.1f} MiB")
            delays = await _delays(client, port, events)
            _say(
                "delays of events",
                f"{len(delays)} events, {len(quiet)} other streams, {OTHERS_PER_SECOND} other tasks/s",
            )
            for share in (0.5, 0.9, 0.99, 1):
                _say(f"  p{100 * share:g}", f"{1_000 * sorted(delays)[round(share * (len(delays) - 1))]:.1f} ms")
            _say("memory after that", f"{(_resident(api.pid) - base) / 2**20:.1f} MiB over base")
        start = time.monotonic()
        api.send_signal(signal.SIGTERM)
        await asyncio.gather(*(watching.ended for watching in quiet))
        ended = time.monotonic() - start
        await asyncio.to_thread(api.wait, 15)
        well = sum(watching.has_ended_well for watching in quiet)
        _say(
            "SIGTERM",
            f"{well} of {streams} streams ended cleanly in {ended:.2f} s, exit in {time.monotonic() - start:.2f} s",
        )
    finally:
        for process in (api, consumer):
            process.kill()
            process.wait()


async def _warm_up(client: ClientSession) -> None:
    while True:
        try:
            (await client.get("/livez")).release()
            break
        except OSError:
            await asyncio.sleep(0.1)
    await asyncio.gather(*(_create(client) for _ in range(500)))
    await asyncio.sleep(1)


async def _delays(client: ClientSession, port: int, events: int) -> list[float]:
    """Of tasks that become due one after the other; each makes two events, its start and its end."""
    delays: list[float] = []
    spread = [5 + SPREAD_SECONDS * number / events for number in range(events)]
    ids = [await _create(client, delay_seconds=delay, content={"simulate_seconds": 0.2}) for delay in spread]
    watched = await _open(port, ids, delays)
    others = asyncio.create_task(_others(client))
    await asyncio.gather(*(watching.ended for watching in watched))
    others.cancel()
    await asyncio.wait([others])
    return delays


async def _others(client: ClientSession) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(_create(client, content={"simulate_seconds": 0}))
            due += 1 / OTHERS_PER_SECOND
            await asyncio.sleep(max(0.0, due - loop.time()))


async def _open(port: int, ids: list[str], delays: list[float]) -> list[Watching]:
    loop = asyncio.get_running_loop()
    opened = []
    for task_id in ids:
        _, watching = await loop.create_connection(lambda task_id=task_id: Watching(task_id, delays), "127.0.0.1", port)  # type: ignore[misc]
        opened.append(watching)
    await asyncio.gather(*(watching.first for watching in opened))
    return opened


async def _create(client: ClientSession, **body: Any) -> str:
    async with client.post("/task", json={"content": "hello"} | body) as answer:
        return str((await answer.json())["id"])


def _start(command: list[str], given: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=os.environ | SETTINGS, stdin=given)


def _resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def _say(what: str, value: str) -> None:
    sys.stdout.write(f"{what}: {value}\n")


if __name__ == "__main__":
    main()
