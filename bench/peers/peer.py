"""A peer as a contender: its scripts run in its own environment, and are counted from here."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.contender import Drained, Unable
from bench.peers.catalogue import Spec
from bench.peers.counter import FILE, Counter
from bench.peers.store import Store
from bench.peers.venvs import python
from bench.peers.workers import Workers

ROOT = Path(__file__).parents[2]

_LOOK = 0.005  # seconds between two looks at the counter
_START_SECONDS = 30.0
_WARM_SECONDS = 1.5  # after its first task, a worker has surely done all that it does at its start


class Peer:
    """See bench.contender.Contender. A drain that takes longer than `limit` seconds is measured by what it did.

    One that is `unable` to run at all says so.
    """

    def __init__(self, spec: Spec, store: Store, folder: Path, *, limit: float, unable: str = "") -> None:
        self.spec = spec
        self.name = spec.name
        self.setting = spec.setting
        self._store = store
        self._limit = limit
        self._unable = unable
        self._counter = Counter(folder / f"{spec.module}.count")
        self._log = folder / f"{spec.module}.log"
        self._env = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}},
            **store.addresses(),
            **spec.env,
            "PYTHONPATH": str(ROOT),
            FILE: str(self._counter.file),
        }

    def reset(self) -> None:
        """An empty store."""
        self._store.empty()
        if self.spec.in_postgres:
            self._run("setup")
        self._counter.reset()

    def enqueue(self, count: int, *, batch: bool) -> float:
        """Seconds."""
        return float(self._run("enqueue", "noop", str(count), "batch" if batch else "one"))

    def drain(self, count: int, *, workers: int) -> Drained:
        """See Contender."""
        return self._work_off(count, workers, self.spec.setting)

    def latencies(self, rate: float, seconds: float) -> list[float]:
        """In milliseconds."""
        self.reset()
        with self._workers(1, self.spec.setting):
            self._run("enqueue", "noop", "1", "one")
            self._until_ended(1, _START_SECONDS)
            time.sleep(_WARM_SECONDS)
            self._run("pace", str(rate), str(seconds))
            sent = int(rate * seconds)
            self._until_ended(1 + sent, 10)
        found = self._counter.latencies()
        if len(found) < sent:
            raise Unable(f"{len(found)} of {sent} tasks were started")
        return found

    def sleepers(self, count: int) -> Drained:
        """See Contender."""
        self.reset()
        self._run("enqueue", "nap", str(count), "batch")
        return self._work_off(count, 1, self.spec.nap_setting.format(count=count))

    def _work_off(self, count: int, workers: int, setting: str) -> Drained:
        self._counter.reset()
        self._store.settle()
        with self._workers(workers, setting) as running:
            give_up = time.monotonic() + _START_SECONDS
            while not (begun := self._counter.read()).first:
                if time.monotonic() > give_up or running.have_ended():
                    raise Unable(f"its workers do nothing: {self._tail()}")
                time.sleep(_LOOK)
            before, at = running.cpu(), self._counter.read().ended
            give_up = begun.first + self._limit
            self._until_ended(count, self._limit, running)
            # A peer that claims many at a time runs them all before it writes anything: ended is what its store says.
            last = self._counter.read().last
            while self._store.left() and (now := time.monotonic()) < give_up:
                last = now
                time.sleep(_LOOK)
            done = self._counter.read().ended
            cpu = running.cpu() - before
            if done < 1 or last <= begun.first:
                raise Unable(f"none of {count} tasks ended in {self._limit:g} s")
            return Drained(done, last - begun.first, cpu * done / max(1, done - at), running.peak())

    def _until_ended(self, count: int, seconds: float, running: Workers | None = None) -> None:
        give_up = time.monotonic() + seconds
        while self._counter.read().ended < count and time.monotonic() < give_up:
            if running and running.have_ended():
                return
            time.sleep(_LOOK)

    @contextmanager
    def _workers(self, number: int, setting: str) -> Iterator[Workers]:
        command = [str(python(self.spec.module)), "-m", f"bench.peers.{self.spec.module}", "work", setting]
        with ExitStack() as stack:
            log = stack.enter_context(self._log.open("wb"))
            yield stack.enter_context(Workers([command] * number, cwd=ROOT, env=self._env, log=log))

    def _run(self, *arguments: str) -> str:
        if self._unable:
            raise Unable(self._unable)
        done = subprocess.run(
            [str(python(self.spec.module)), "-m", f"bench.peers.{self.spec.module}", *arguments],
            cwd=ROOT,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise Unable(f"{arguments[0]}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def _tail(self) -> str:
        return self._log.read_text(errors="replace").strip()[-500:]
