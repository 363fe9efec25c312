"""Processes that a killed earlier start left running on the same data folder (Linux: found in /proc)."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

# In the environment of everything that is started here; its value is Folders.mark.
MARK = "TASKMILL_DATA"
_PROC = Path("/proc")


def stop(folder: str, seconds: float) -> list[int]:
    """Stop what is left, in order where its Supervisor still lives; kill what is not gone after `seconds`.

    Returns the process ids that were found, none if there is nothing to stop.
    """
    found = _find(folder)
    supervisors = [pid for pid in found if b"supervisord" in _read(pid, "cmdline")]
    for pid in supervisors:
        _send(pid, signal.SIGTERM)
    # While it lives it stops the others in order.
    _wait_until(lambda: not set(supervisors) & set(_find(folder)), seconds)
    for pid in _find(folder):
        # PostgreSQL takes TERM for "when the last client has left".
        _send(pid, signal.SIGINT if _is_postgres(pid) else signal.SIGTERM)
    if not _wait_until(lambda: not _find(folder), seconds):
        for pid in _find(folder):
            _send(pid, signal.SIGKILL)
        _wait_until(lambda: not _find(folder), seconds)
    return found


def remove_stale_pid_file(postgres: Path) -> None:
    """Remove the pid file of a postmaster that is gone.

    PostgreSQL would do so itself, unless the number belongs to another process by now, as is usual in containers.
    Call it when no earlier start is left: the data folder is then locked and nobody's.
    """
    (postgres / "postmaster.pid").unlink(missing_ok=True)


def _find(folder: str) -> list[int]:
    mark = os.fsencode(f"{MARK}={folder}")
    pids = [int(entry.name) for entry in _PROC.glob("[0-9]*")]
    return [pid for pid in pids if pid != os.getpid() and mark in _read(pid, "environ").split(b"\0")]


def _wait_until(gone: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not gone():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _is_postgres(pid: int) -> bool:
    return _read(pid, "comm").startswith(b"postgres")


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:  # gone, or another user's
        return b""


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
