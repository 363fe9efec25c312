"""What processes use of the machine, as /proc tells it (Linux)."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time so far of these processes and of what they have started, to 10 ms each."""
    total = 0
    for pid in tree(pids):
        with suppress(OSError):
            total += sum(map(int, _stat(pid)[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


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
