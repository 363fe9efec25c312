"""What contenders do, in turns.

    python -m bench.peers.measure [--rounds 3] [--tasks 10000] [--peers pgqueuer,huey]

prints it for the peers alone; `make bench` puts Taskmill and the naive implementation among them.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from bench.contender import Contender, Drained, Figure, Unable
from bench.peers.catalogue import PEERS
from bench.peers.peer import Peer
from bench.peers.store import Store
from bench.peers.venvs import make_venvs
from bench.servers import tcp_servers
from tests.support.servers import Servers


@dataclass(frozen=True)
class Dose:
    """How much: `singles` tasks one by one, `tasks` in batches and for each worker; then latencies, and sleepers.

    What is 0 is left out.
    """

    singles: int = 2_000
    tasks: int = 10_000
    rate: float = 50
    seconds: float = 10
    sleepers: int = 2_000


@dataclass(frozen=True)
class Missing:
    """What was not measured, and why."""

    subject: str
    measure: str
    why: str


Found = list[Figure | Missing]
Tell = Callable[[Figure | Missing], object]


@contextmanager
def running_peers(servers: Servers, names: Sequence[str] = tuple(PEERS), *, limit: float = 30) -> Iterator[list[Peer]]:
    """These peers, installed if need be, ready to be measured. One that can't be installed answers Unable to all."""
    failed = make_venvs(PEERS[name].module for name in names)
    with tempfile.TemporaryDirectory(prefix="taskmill-bench-peers-") as folder, ExitStack() as stack:
        peers = []
        for name in names:
            spec = PEERS[name]
            store = stack.enter_context(Store(spec, servers))
            peers.append(Peer(spec, store, Path(folder), limit=limit, unable=failed.get(spec.module, "")))
        yield peers


def measure(contenders: Sequence[Contender], rounds: int, dose: Dose, tell: Tell = lambda _: None) -> Found:
    """Every measure of every contender, one contender after another, backwards in every other round.

    `tell` is given each figure as it is found. What a contender is unable to do is Missing, once a round.
    """
    found: Found = []
    for number in range(rounds):
        for contender in contenders[:: -1 if number % 2 else 1]:
            for part in _parts(dose):
                for figure in _tried(part, contender, dose, number):
                    found.append(figure)
                    tell(figure)
    return found


Part = Callable[[Contender, Dose], dict[tuple[str, str], float]]


def _parts(dose: Dose) -> list[Part]:
    parts: list[Part] = [_one_by_one] if dose.singles else []
    parts += [_batch, _drain_with_one, _drain_with_two] if dose.tasks else []
    parts += [_latency] if dose.seconds else []
    return parts + ([_sleepers] if dose.sleepers else [])


def _tried(part: Part, contender: Contender, dose: Dose, number: int) -> Found:
    try:
        contender.reset()
        values = part(contender, dose)
    except Unable as error:
        return [Missing(contender.name, (part.__doc__ or "").rstrip("."), str(error))]
    return [Figure(contender.name, measure, unit, value, number) for (measure, unit), value in values.items()]


def _one_by_one(contender: Contender, dose: Dose) -> dict[tuple[str, str], float]:
    """Enqueue one by one."""
    return {("enqueue one by one", "tasks/s"): dose.singles / contender.enqueue(dose.singles, batch=False)}


def _batch(contender: Contender, dose: Dose) -> dict[tuple[str, str], float]:
    """Enqueue in batches."""
    return {("enqueue in batches", "tasks/s"): dose.tasks / contender.enqueue(dose.tasks, batch=True)}


def _drain_with_one(contender: Contender, dose: Dose) -> dict[tuple[str, str], float]:
    """No-op tasks, 1 worker."""
    drained = contender.drain(dose.tasks, workers=1)
    return {
        ("no-op tasks, 1 worker", "tasks/s"): drained.done / drained.seconds,
        ("CPU for 1,000 tasks, 1 worker", "s"): drained.cpu / drained.done * 1_000,
        ("peak memory, 1 worker", "MiB"): drained.peak,
    }


def _drain_with_two(contender: Contender, dose: Dose) -> dict[tuple[str, str], float]:
    """No-op tasks, 2 workers."""
    drained = contender.drain(2 * dose.tasks, workers=2)
    return {
        ("no-op tasks, 2 workers", "tasks/s"): drained.done / drained.seconds,
        ("CPU for 1,000 tasks, 2 workers", "s"): drained.cpu / drained.done * 1_000,
    }


def _latency(contender: Contender, dose: Dose) -> dict[tuple[str, str], float]:
    """Enqueue to start."""
    found = contender.latencies(dose.rate, dose.seconds)
    return {
        ("enqueue to start, p50", "ms"): median(found),
        ("enqueue to start, p99", "ms"): quantiles(found, n=100, method="inclusive")[98],
    }


def _sleepers(contender: Contender, dose: Dose) -> dict[tuple[str, str], float]:
    """Sleepers of 1 s in one worker."""
    slept: Drained = contender.sleepers(dose.sleepers)
    return {
        ("sleepers of 1 s, 1 worker", "tasks/s"): slept.done / slept.seconds,
        ("peak memory with sleepers", "MiB"): slept.peak,
    }


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.measure", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end too
    dose = Dose(singles=arguments.tasks // 5, tasks=arguments.tasks, sleepers=arguments.tasks // 5)
    with tcp_servers() as servers, running_peers(servers, arguments.peers.split(",")) as peers:
        measure(peers, arguments.rounds, dose, lambda found: print(found, flush=True))


if __name__ == "__main__":
    main()
