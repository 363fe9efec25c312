"""Taskmill among its peers: no-op tasks, enqueues, latency and sleepers, all in turns on the same servers.

A short drain and a few enqueues say how fast each is; from then on each gets as many tasks as last for a while, so that
a fast one is not measured by how it starts. First comes what is measured of all, then more turns of those that decide
a target, then a second one of the others while there is time.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.contender import Contender, Unable
from bench.peers.measure import Turn, measure, running_peers
from bench.run import Run
from bench.taskmill import Taskmill, taskmill

ONE, TWO = "no-op tasks, 1 worker", "no-op tasks, 2 workers"
ENQUEUE, BATCHES = "enqueue one by one", "enqueue in batches"
CREATES = "Taskmill's creates over HTTP beside that, 64 connections"
_FIRST = 2_000  # tasks of the first drain
_FEWEST = 1_000
_SINGLES = 1_000  # of the first enqueues
_ENQUEUE_SECONDS = 1.5
_LIMIT = 15.0  # seconds, after which a drain is measured by what it did
_LONGER = 1.5  # of the time that there is for all, what decides a target may take
_FASTEST = 2
_NEAREST = 2


@dataclass(frozen=True)
class _Step:
    """Something to measure, if there is time: whose, what in words, and how. A second turn may be left out."""

    name: str
    what: str
    do: Callable[[], object]
    is_second: bool = False


def measure_among_peers(run: Run) -> None:
    """A part of `make bench`."""
    with taskmill(run.servers) as ours, running_peers(run.servers, run.dose.peers, limit=_LIMIT) as peers:
        begin = time.monotonic()  # not before: they may have had to be installed
        contenders: list[Contender] = [*ours, *peers]
        sizes = {one.name: _size(run, one) for one in contenders}
        contenders.sort(key=lambda one: -sizes[one.name].tasks)
        print(f"  {time.monotonic() - begin:.0f} s; fastest: {', '.join(one.name for one in contenders)}", flush=True)
        left: dict[str, list[str]] = {}
        for step in _Plan(run, ours, contenders, sizes).steps():
            if time.monotonic() > begin + run.dose.peer_seconds * (1 if step.is_second else _LONGER):
                print(f"  {step.name}, {step.what}: no time was left", flush=True)
                if not step.is_second:
                    left.setdefault(step.name, []).append(step.what)
                continue
            started = time.monotonic()
            step.do()
            print(f"  {step.name}, {step.what}: {time.monotonic() - started:.1f} s", flush=True)
        for name, whats in left.items():
            run.fail(name, Unable(f"no time was left for {', '.join(whats)}"))


def _size(run: Run, contender: Contender) -> Turn:
    """As many tasks as last for a while; few where that can't be found out."""
    tasks, singles = _FIRST, _SINGLES
    try:
        contender.reset()
        drained = contender.drain(_FIRST, workers=1)
        tasks = round(run.dose.drain_seconds * drained.done / drained.seconds)
        contender.reset()
        singles = round(_ENQUEUE_SECONDS * _SINGLES / contender.enqueue(_SINGLES, batch=False))
    except Exception as error:  # noqa: BLE001 - said again when it is measured
        print(f"  {contender.name}: {error}", flush=True)
    return Turn(singles=max(singles, _SINGLES), tasks=min(max(tasks, _FEWEST), run.dose.tasks))


@dataclass
class _Plan:
    """What is measured, in the order of what may least be missing. `ours` is Taskmill at its best, and as it comes."""

    run: Run
    ours: tuple[Taskmill, Taskmill]
    contenders: Sequence[Contender]  # the fastest first
    sizes: dict[str, Turn]

    def steps(self) -> Iterator[_Step]:
        """One after another; what follows may depend on what the ones before have found."""
        dose, best = self.run.dose, self.ours[0]
        peers = [one for one in self.contenders if one not in self.ours]
        fastest = [best, *peers[:_FASTEST]]
        others = [one for one in self.contenders if one not in fastest]
        singles = Turn(singles=self.sizes[best.name].singles)
        yield from self._turn(self.contenders, "no-op tasks", self._work, 0)
        for number in range(max(1, dose.peer_rounds)):
            yield from self._turn(peers, "its enqueues beside creates", self._enqueue, number)
            yield _Step(best.name, "creates one by one", partial(measure, best, singles, number, self.run.tell))
        yield from self._turn(self.contenders, "latency and sleepers", self._rest, 0)
        for number in range(1, dose.best_rounds):
            yield from self._turn(fastest, "no-op tasks", self._work, number)
        nearest = sorted(peers, key=self._enqueues)[-_NEAREST:]
        for number in range(dose.peer_rounds, dose.enqueue_rounds):
            yield from self._turn(nearest, "its enqueues beside creates", self._enqueue, number)
        for number in range(1, dose.peer_rounds):
            yield from self._turn(others, "no-op tasks", self._work, number, is_second=True)
            yield from self._turn(self.contenders, "latency and sleepers", self._rest, number, is_second=True)

    def _turn(
        self,
        whose: Sequence[Contender],
        what: str,
        do: Callable[[Contender, int], None],
        number: int,
        *,
        is_second: bool = False,
    ) -> Iterator[_Step]:
        for one in whose[:: -1 if number % 2 else 1]:
            yield _Step(one.name, f"{what}, turn {number + 1}", partial(do, one, number), is_second)

    def _work(self, one: Contender, number: int) -> None:
        measure(one, Turn(tasks=self.sizes[one.name].tasks), number, self.run.tell)

    def _rest(self, one: Contender, number: int) -> None:
        sleepers = 0 if one is self.ours[1] else self.run.dose.sleepers // 5  # those are not of default settings
        turn = Turn(rate=50, seconds=self.run.dose.latency_seconds / 2, sleepers=sleepers)
        measure(one, turn, number, self.run.tell)

    def _enqueue(self, peer: Contender, number: int) -> None:
        """What it takes one by one in process, and our API over HTTP, in turns, on servers that have come to rest."""
        ours, count = self.ours[0], self.sizes[peer.name].singles
        sides: dict[str, Callable[[], float]] = {
            CREATES: ours.creates_per_second,
            ENQUEUE: lambda: count / peer.enqueue(count, batch=False),
        }
        found = {}
        try:
            for measured in list(sides)[:: -1 if number % 2 else 1]:
                ours.reset()
                peer.reset()
                ours.settle()
                found[measured] = sides[measured]()
        except Exception as error:  # noqa: BLE001 - a finding, not the end of the run
            self.run.fail(f"{peer.name}, {ENQUEUE}", error)
            return
        for measured, rate in found.items():
            self.run.add(peer.name, measured, "tasks/s", rate, number)

    def _enqueues(self, peer: Contender) -> float:
        found = [one.value for one in self.run.figures if (one.subject, one.measure) == (peer.name, ENQUEUE)]
        return median(found) if found else 0.0
