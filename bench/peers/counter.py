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
_HEAD = struct.Struct("<qq")  # slots in use; the epoch: what was counted in an earlier one counts no more
_SLOT = struct.Struct("<qqdd")  # epoch, ended, first, last


@dataclass(frozen=True)
class Count:
    """Over all processes: tasks that have ended, and when the first started and the last ended (0 if none did)."""

    processes: int
    ended: int
    first: float
    last: float


class Counter:
    """The parent's side."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._latencies = file.with_suffix(".latencies")
        self.file.write_bytes(bytes(_HEAD.size + _SLOT.size * _SLOTS))
        self._latencies.touch()

    def reset(self) -> None:
        """Begin at nought. While no task runs."""
        with self.file.open("r+b") as file:
            number, epoch = _HEAD.unpack(file.read(_HEAD.size))
            file.seek(0)
            file.write(_HEAD.pack(number, epoch + 1))
        self._latencies.write_bytes(b"")

    def read(self) -> Count:
        """What the workers have counted so far."""
        content = self.file.read_bytes()
        epoch = _HEAD.unpack_from(content)[1]
        slots = [slot for slot in _SLOT.iter_unpack(content[_HEAD.size :]) if slot[0] == epoch and slot[2]]
        first = min((slot[2] for slot in slots), default=0.0)
        last = max((slot[3] for slot in slots), default=0.0)
        return Count(len(slots), sum(slot[1] for slot in slots), first, last)

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
    epoch: int = -1
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
    assert _mine.slots is not None
    epoch = _HEAD.unpack_from(_mine.slots)[1]
    if epoch != _mine.epoch:
        with _mine.lock:
            if epoch != _mine.epoch:
                _mine.epoch, _mine.ended, _mine.first = epoch, 0, time.monotonic()
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
        number, epoch = _HEAD.unpack_from(slots)
        _HEAD.pack_into(slots, 0, number + 1, epoch)
        fcntl.flock(opened, fcntl.LOCK_UN)  # the map has a descriptor of its own, which would hold the lock
    _mine.slots, _mine.offset = slots, _HEAD.size + _SLOT.size * (number % _SLOTS)
    _mine.latencies = os.open(file.with_suffix(".latencies"), os.O_WRONLY | os.O_APPEND)
    _mine.epoch, _mine.pid = -1, os.getpid()


def _write(last: float) -> None:
    assert _mine.slots is not None
    _SLOT.pack_into(_mine.slots, _mine.offset, _mine.epoch, _mine.ended, _mine.first, last)
