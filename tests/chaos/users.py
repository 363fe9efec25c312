"""Who uses a link, by process id: Linux tells it of connections on this host."""

import asyncio
import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from tests.chaos.links import Link
from tests.support.pids import is_alive

_LOOK_SECONDS = 0.05


async def users_of(link: Link, since: float = 0.0) -> set[int]:
    """The processes that were answered over the link what they had asked after `since` (monotonic)."""
    pipes = [pipe for pipe in link.pipes if pipe.answered_at > since]
    unknown = {pipe.client_port: pipe for pipe in pipes if not pipe.owners and pipe.client_port}
    if unknown:
        for port, pid in await asyncio.to_thread(_owners, link.port, set(unknown)):
            unknown[port].owners.add(pid)
    return set[int]().union(*(pipe.owners for pipe in pipes))


async def at_work_again(link: Link, before: Collection[int], since: float, seconds: float) -> tuple[float, set[int]]:
    """Wait until each of these processes that still lives is answered what it asks over the link after `since`.

    How many seconds after `since` that was, and which processes were not by `since + seconds`.
    """
    while True:
        missing = {pid for pid in set(before) - await users_of(link, since) if is_alive(pid)}
        passed = time.monotonic() - since
        if not missing or passed > seconds:
            return passed, missing
        await asyncio.sleep(_LOOK_SECONDS)


def _owners(server: int, ports: set[int]) -> list[tuple[int, int]]:
    """Of sockets from these local ports to the port of a server: the local port, and a process that has it open.

    A local port alone says little: Linux gives it to several connections at once, to different servers.
    """
    by_inode = {
        f"socket:[{inode}]": local for local, remote, inode in _sockets() if remote == server and local in ports
    }
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [(by_inode[name], pid) for pid in pids for name in _open(pid) & by_inode.keys()]


def _sockets() -> list[tuple[int, int, str]]:
    """Local port, remote port and inode of each TCP socket over IPv4."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [(_port(row[1]), _port(row[2]), row[9]) for row in rows]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _open(pid: int) -> set[str]:
    found = set[str]()
    with suppress(OSError):  # gone, or another user's
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found.add(os.readlink(entry.path))  # noqa: PTH115 - there are thousands
    return found
