"""Reads what handlers have written of their runs: when all is over, or while they run."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.chaos.history import Run

_LOOK_SECONDS = 0.002  # a start is known so much later
_SCAN_SECONDS = 0.1  # for files of new processes
_REMEMBERED = 20_000
_PROCESSES = Path("/proc")


def read_runs(folder: Path) -> list[Run]:
    """All starts and ends of all processes, in the order of time."""
    runs = [_run(line) for path in folder.glob("*.runs") for line in _whole_lines(path.read_bytes())]
    runs.sort()
    return runs


class Watch:
    """Hears of starts and ends while they happen; the last ones are remembered."""

    def __init__(self, folder: Path, processes: Path) -> None:
        self._folder = folder
        self._processes = processes
        self._files: dict[str, int] = {}  # how much of each has been read
        self._ended: dict[str, int] = {}  # the same, of those whose processes are gone
        self._seen: dict[tuple[str, str], Run] = {}
        self._order: deque[tuple[str, str]] = deque()
        self._awaited: dict[tuple[str, str], asyncio.Future[Run]] = {}

    async def seen(self, task_id: str, phase: str, seconds: float) -> Run | None:
        """Wait for a phase of a run of a task; None where it does not come in time."""
        key = task_id, phase
        if key in self._seen:
            return self._seen[key]
        waiting = self._awaited.setdefault(key, asyncio.get_running_loop().create_future())
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), seconds)
        except TimeoutError:
            return None
        finally:
            self._awaited.pop(key, None)

    async def run(self) -> None:
        """Look until cancelled. What is there at first is passed over."""
        self._pass_over()
        self._scan()
        scanned = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if time.monotonic() - scanned > _SCAN_SECONDS:
                self._scan()
                scanned = time.monotonic()
            for path in self._files:
                self._read(path)

    def _pass_over(self) -> None:
        """Unread: after an hour it takes seconds to read, in which this process, and its links, would stand still."""
        self._ended = {str(path): path.stat().st_size for path in self._folder.glob("*.runs")}

    def _scan(self) -> None:
        """A new process may have the number of one that is gone, and then it goes on in that one's file."""
        living = {path.name for path in self._processes.iterdir()}
        for path in self._folder.glob("*.runs"):
            name = str(path)
            if name not in self._files and (name not in self._ended or path.stem in living):
                self._files[name] = self._ended.pop(name, 0)
        for name in list(self._files):
            if Path(name).stem not in living:
                self._read(name)
                self._ended[name] = self._files.pop(name)

    def _read(self, path: str) -> None:
        with Path(path).open("rb", buffering=0) as file:
            file.seek(self._files[path])
            data = file.read()
        self._files[path] += data.rfind(b"\n") + 1
        for line in _whole_lines(data):
            self._note(_run(line))

    def _note(self, run: Run) -> None:
        key = run.task, run.phase
        self._seen[key] = run
        self._order.append(key)
        if len(self._order) > _REMEMBERED:
            self._seen.pop(self._order.popleft(), None)
        waiting = self._awaited.pop(key, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(run)


@asynccontextmanager
async def watching(folder: Path, processes: Path = _PROCESSES) -> AsyncIterator[Watch]:
    """A watch on the folder while the block lasts."""
    watch = Watch(folder, processes)
    looking = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    try:
        yield watch
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def _whole_lines(data: bytes) -> list[str]:
    """Without a last line that has no end yet."""
    return data[: data.rfind(b"\n") + 1].decode().splitlines()


def _run(line: str) -> Run:
    at, task, claim, attempt, phase, pid = line.split(" ")
    return Run(float(at), task, claim, int(attempt), phase, int(pid))
