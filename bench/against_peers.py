"""Taskmill among its peers: no-op tasks, enqueues, latency and sleepers, all in turns on the same servers.

A short drain and a few enqueues say how fast each is; from then on each gets as many tasks as last for a while, so that
a fast one is not measured by how it starts. First comes what is measured of all, then more rounds of the fastest.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.contender import Contender, Unable
from bench.peers.measure import Turn, measure, running_peers
from bench.run import Run
from bench.taskmill import Taskmill, taskmill

ONE, TWO = "no-op tasks, 1 worker", "no-op tasks, 2 workers"
ENQUEUE = "enqueue one by one"
CREATES = "Taskmill's creates over HTTP beside that, 64 connections"
_FIRST = 2_000  # tasks of the first drain
_FEWEST = 1_000
_SINGLES = 200  # of the first enqueues
_ENQUEUE_SECONDS = 1.5
_LIMIT = 15.0  # seconds, after which a drain is measured by what it did
_FASTEST = 2
_FASTEST_ENQUEUES = 3


@dataclass(frozen=True)
class _Step:
    """Something to measure, if there is time: whose, what in words, and how."""

    name: str
    what: str
    do: Callable[[], object]


def measure_among_peers(run: Run) -> None:
    """A part of `make bench`."""
    with taskmill(run.servers) as ours, running_peers(run.servers, run.dose.peers, limit=_LIMIT) as peers:
        begin = time.monotonic()  # not before: they may have had to be installed
        contenders: list[Contender] = [ours, *peers]
        sizes = {one.name: _size(run, one) for one in contenders}
        contenders.sort(key=lambda one: -sizes[one.name].tasks)
        print(f"  {time.monotonic() - begin:.0f} s; fastest: {', '.join(one.name for one in contenders)}", flush=True)
        left: dict[str, list[str]] = {}
        for step in _steps(run, ours, contenders, sizes):
            if time.monotonic() > begin + run.dose.peer_seconds:
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


def _steps(run: Run, ours: Taskmill, contenders: Sequence[Contender], sizes: dict[str, Turn]) -> list[_Step]:
    """In the order of what may least be missing."""
    peers = [one for one in contenders if one is not ours]
    rest = Turn(rate=50, seconds=run.dose.latency_seconds / 2, sleepers=run.dose.sleepers // 5)

    def work(one: Contender, number: int) -> None:
        measure(one, Turn(tasks=sizes[one.name].tasks), number, run.tell)

    def enqueue(one: Contender, number: int) -> None:
        _enqueue_beside(run, ours, one, sizes[one.name].singles, number)

    def enqueue_again(place: int, number: int) -> None:
        fastest = sorted(peers, key=lambda one: -_enqueues(run, one))
        if place < len(fastest):
            enqueue(fastest[place], number)

    singles = Turn(singles=sizes[ours.name].singles)
    steps = [_Step(one.name, "no-op tasks", partial(work, one, 0)) for one in contenders]
    steps += [_Step(one.name, "its enqueue beside creates", partial(enqueue, one, 0)) for one in peers]
    steps.append(_Step(ours.name, "creates one by one", partial(measure, ours, singles, 0, run.tell)))
    steps += [_Step(one.name, "latency and sleepers", partial(measure, one, rest, 0, run.tell)) for one in contenders]
    for number in range(1, run.dose.peer_rounds):
        words = f"round {number + 1}"
        fastest = [ours, *peers[:_FASTEST]][:: -1 if number % 2 else 1]
        steps += [_Step(one.name, words, partial(work, one, number)) for one in fastest]
        steps += [
            _Step(f"fastest enqueue, {place + 1}", words, partial(enqueue_again, place, number))
            for place in range(_FASTEST_ENQUEUES)
        ]
    return steps


def _enqueue_beside(run: Run, ours: Taskmill, peer: Contender, count: int, number: int) -> None:
    """What it takes one by one in process, and what our API takes over HTTP right before and right after."""
    try:
        peer.reset()
        before = ours.creates_per_second()
        seconds = peer.enqueue(count, batch=False)
        after = ours.creates_per_second()
    except Exception as error:  # noqa: BLE001 - a finding, not the end of the run
        run.fail(f"{peer.name}, {ENQUEUE}", error)
        return
    run.add(peer.name, ENQUEUE, "tasks/s", count / seconds, number)
    run.add(peer.name, CREATES, "tasks/s", (before + after) / 2, number)


def _enqueues(run: Run, peer: Contender) -> float:
    found = [one.value for one in run.figures if (one.subject, one.measure) == (peer.name, ENQUEUE)]
    return median(found) if found else 0.0
