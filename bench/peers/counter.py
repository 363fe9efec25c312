"""Counts started and ended tasks over all worker processes, at well under a microsecond each.

A file in shared memory, one slot for each process: how many have ended, when the first one started, when the last one
ended. Beside it a file with a line for each latency. Standard library only: it runs in every peer's environment.
Times are of the monotonic clock, which is one for all processes of the machine.
"""

import fcntl
import mmap
import os
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

FILE = "BENCH_COUNTER"  # the variable that names the file

_SLOTS = 256
_NUMBER = struct.Struct("<q")  # of the slots in use, at the head of the file
_SLOT = struct.Struct("<qdd")


@dataclass(frozen=True)
class Count:
    """Over all processes: tasks that have ended, and when the first started and the last ended (0 if none did)."""

    ended: int
    first: float
    last: float


class Counter:
    """The parent's side."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._latencies = file.with_suffix(".latencies")

    def reset(self) -> None:
        """Begin at nought. Only while no worker runs."""
        self.file.write_bytes(bytes(_NUMBER.size + _SLOT.size * _SLOTS))
        self._latencies.write_bytes(b"")

    def read(self) -> Count:
        """What the workers have counted so far."""
        slots = [slot for slot in _SLOT.iter_unpack(self.file.read_bytes()[_NUMBER.size :]) if slot[1]]
        first = min((slot[1] for slot in slots), default=0.0)
        return Count(sum(slot[0] for slot in slots), first, max((slot[2] for slot in slots), default=0.0))

    def latencies(self) -> list[float]:
        """In milliseconds, one for each task."""
        return [float(line) for line in self._latencies.read_text().split()]


@dataclass
class _Mine:
    """This process's slot."""

    pid: int = 0
    slots: mmap.mmap | None = None
    offset: int = 0
    latencies: int = 0
    ended: int = 0
    first: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


_mine = _Mine()


def begin() -> None:
    """A task starts."""
    if os.getpid() != _mine.pid:  # the first one here, or since a fork
        with _mine.lock:
            if os.getpid() != _mine.pid:
                _claim()
    if not _mine.first:
        with _mine.lock:
            if not _mine.first:
                _mine.first = time.monotonic()
                _write(0.0)


def end() -> None:
    """A task ends."""
    with _mine.lock:
        _mine.ended += 1
        _write(time.monotonic())


def note_latency(sent: float) -> None:
    """A task starts that was sent at this time."""
    late = time.monotonic() - sent
    begin()
    os.write(_mine.latencies, b"%.6f\n" % (late * 1_000))


def _claim() -> None:
    file = Path(os.environ[FILE])
    with file.open("r+b") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        slots = mmap.mmap(opened.fileno(), 0)
        number = _NUMBER.unpack_from(slots)[0]
        _NUMBER.pack_into(slots, 0, number + 1)
    _mine.slots, _mine.offset = slots, _NUMBER.size + _SLOT.size * (number % _SLOTS)
    _mine.latencies = os.open(file.with_suffix(".latencies"), os.O_WRONLY | os.O_APPEND)
    _mine.ended, _mine.first, _mine.pid = 0, 0.0, os.getpid()


def _write(last: float) -> None:
    assert _mine.slots is not None
    _SLOT.pack_into(_mine.slots, _mine.offset, _mine.ended, _mine.first, last)
