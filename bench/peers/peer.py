"""A peer as a contender: its scripts run in its own environment, and are counted from here."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.contender import Drained, Unable
from bench.peers.catalogue import Spec
from bench.peers.counter import FILE, Counter
from bench.peers.store import Store
from bench.peers.venvs import python
from bench.peers.workers import Workers
from bench.usage import lasting_cpu_seconds

ROOT = Path(__file__).parents[2]

_LOOK = 0.005  # seconds between two looks at the counter
_START_SECONDS = 60.0
_WARM_SECONDS = 5.0  # after the first task of one, the others have surely started
_FIRST_TASKS = 20  # a worker
_REST_SECONDS = 0.5  # for what they write after a task


class Peer:
    """See bench.contender.Contender. A drain that takes longer than `limit` seconds is measured by what it did.

    One that is `unable` to run at all says so.
    """

    def __init__(
        self, spec: Spec, store: Store, folder: Path, *, limit: float, server_pids: Sequence[int] = (), unable: str = ""
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self._store = store
        self._limit = limit
        self._unable = unable
        self._server_pids = server_pids
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
        return self._work_off("noop", count, workers, self.spec.setting)

    def latencies(self, rate: float, seconds: float) -> list[float]:
        """In milliseconds."""
        with self._workers(1, self.spec.setting):
            self._counter.reset()
            self._run("pace", str(rate), str(seconds))
            sent = int(rate * seconds)
            self._until_ended(sent, 10)
        found = self._counter.latencies()
        if len(found) < sent:
            raise Unable(f"{len(found)} of {sent} tasks were started")
        return found

    def sleepers(self, count: int) -> Drained:
        """See Contender."""
        return self._work_off("nap", count, 1, self.spec.nap_setting.format(count=count))

    def _work_off(self, task: str, count: int, workers: int, setting: str) -> Drained:
        with self._workers(workers, setting) as running:
            with running.held():
                self._run("enqueue", task, str(count), "batch")
                self._store.settle()
                self._counter.reset()
                used, of_servers = running.cpu(), lasting_cpu_seconds(self._server_pids)
            self._until_ended(count, self._limit)
            # A peer that claims many at a time runs them all before it writes anything: ended is what its store says.
            first = self._counter.read().first
            while self._store.left() and time.monotonic() < first + self._limit:
                time.sleep(_LOOK)
            last = time.monotonic()
            done = self._counter.read().ended
            if done < 1:
                raise Unable(f"none of {count} tasks has ended after {self._limit:g} s: {self._tail()}")
            of_servers = lasting_cpu_seconds(self._server_pids) - of_servers
            return Drained(
                done,
                last - first,
                running.cpu() - used,
                running.peak(),
                of_servers if self._server_pids else None,
            )

    def _until_ended(self, count: int, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        while self._counter.read().ended < count and time.monotonic() < give_up:
            time.sleep(_LOOK)

    @contextmanager
    def _workers(self, number: int, setting: str) -> Iterator[Workers]:
        """Running, and idle after their first tasks."""
        command = [str(python(self.spec.module)), "-m", f"bench.peers.{self.spec.module}", "work", setting]
        with (
            self._log.open("wb") as log,
            Workers([command] * number, cwd=ROOT, env=self._env, log=log) as running,
        ):
            self._warm(running, number)
            yield running

    def _warm(self, running: Workers, number: int) -> None:
        """Give them tasks until each has had one, or has surely had the time to."""
        self._counter.reset()
        give_up = time.monotonic() + _START_SECONDS
        sent = 0
        while (begun := self._counter.read()).processes < number and (
            not begun.first or time.monotonic() < begun.first + _WARM_SECONDS
        ):
            if time.monotonic() > give_up or running.have_ended():
                raise Unable(f"its workers do nothing: {self._tail()}")
            if self._counter.read().ended == sent:
                sent += _FIRST_TASKS * number
                self._run("enqueue", "noop", str(_FIRST_TASKS * number), "one")
            time.sleep(_LOOK)
        self._until_ended(sent, _START_SECONDS)
        while self._store.left() and time.monotonic() < give_up:
            time.sleep(_LOOK)
        time.sleep(_REST_SECONDS)

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
        return self._log.read_text(errors="replace").strip()[-500:] or "they say nothing"
