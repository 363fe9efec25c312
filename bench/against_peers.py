"""Taskmill among its peers: no-op tasks, enqueues, latency and sleepers, all in turns on the same servers.

A first turn of few tasks says how fast each is. From then on each gets as many as it does in a second or two, so that a
fast one is not measured by how it starts; the fastest are measured in all rounds, the others once.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from bench.contender import Contender, Figure, Unable
from bench.peers.catalogue import PEERS
from bench.peers.measure import Dose, Missing, measure, running_peers
from bench.run import QUICK, Run
from bench.taskmill import taskmill

ONE, TWO = "no-op tasks, 1 worker", "no-op tasks, 2 workers"
_QUICK_PEERS = ("pgqueuer", "huey")
_FIRST = 2_000  # tasks of the first turn
_SECONDS = 2.0  # that a drain is to take
_MOST = 50_000
_LIMIT = 15.0  # seconds, after which a drain is measured by what it did
_FASTEST = 2


def measure_among_peers(run: Run) -> None:
    """A part of `make bench`."""
    give_up = time.monotonic() + run.dose.peer_seconds
    names = _QUICK_PEERS if run.dose is QUICK else tuple(PEERS)
    with taskmill(run.servers) as ours, running_peers(run.servers, names, limit=_LIMIT) as peers:
        contenders: list[Contender] = [ours, *peers]
        doses = {one.name: _sized(_measure(run, one, Dose(0, _FIRST, 0, 0, 0))) for one in contenders}
        contenders.sort(key=lambda one: -doses[one.name].tasks)
        print(f"  fastest first: {', '.join(one.name for one in contenders)}", flush=True)
        singles = 200 if run.dose is QUICK else 1_000
        rest = Dose(0, 0, 50, run.dose.latency_seconds / 2, run.dose.sleepers // 5)
        fastest = _fastest(contenders, ours)
        turns = [
            (number, one, replace(doses[one.name], singles=singles))
            for number in range(run.dose.rounds)
            for one in fastest[:: -1 if number % 2 else 1]
        ]
        turns += [(0, one, replace(doses[one.name], singles=singles)) for one in contenders if one not in fastest]
        turns += [(0, one, rest) for one in contenders]
        for number, one, dose in turns:
            if time.monotonic() > give_up:
                run.fail(one.name, Unable(f"no time was left for its turn {number}"))
                continue
            run.figures += [replace(figure, round=number) for figure in _measure(run, one, dose)]


def _fastest(contenders: Sequence[Contender], ours: Contender) -> list[Contender]:
    """Those that come first, and always us."""
    peers = [one for one in contenders if one is not ours]
    return [ours, *peers[:_FASTEST]]


def _sized(found: Sequence[Figure]) -> Dose:
    """As many tasks as last for a while."""
    rates = [one.value for one in found if one.measure in {ONE, TWO}]
    tasks = min(_MOST, max(_FIRST, round(max(rates, default=0) * _SECONDS)))
    return Dose(0, tasks, 0, 0, 0)


def _measure(run: Run, contender: Contender, dose: Dose) -> list[Figure]:
    found: list[Figure] = []
    begin = time.monotonic()

    def tell(one: Figure | Missing) -> None:
        if isinstance(one, Figure):
            found.append(one)
        else:
            run.fail(f"{one.subject}, {one.measure}", Unable(one.why))

    try:
        measure([contender], 1, dose, tell)
    except Exception as error:  # noqa: BLE001 - a finding, not the end of the run
        run.fail(contender.name, error)
    print(f"  {contender.name}: {time.monotonic() - begin:.1f} s", flush=True)
    return found
