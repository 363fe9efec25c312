"""What a contender does in its turn.

    python -m bench.peers.measure [--rounds 3] [--tasks 10000] [--peers pgqueuer,huey]

prints it for the peers alone; `make bench` puts Taskmill among them (bench.against_peers).
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contender import Contender, Drained, Figure, Missing, Tell, Unable
from bench.numbers import percentile
from bench.peers.catalogue import PEERS
from bench.peers.peer import Peer
from bench.peers.store import Store
from bench.peers.venvs import make_venvs
from bench.servers import tcp_servers
from bench.usage import server_pids
from tests.support.servers import Servers


@dataclass(frozen=True, kw_only=True)
class Turn:
    """How much: `singles` tasks one by one, `tasks` in batches and for each worker; then latencies, and sleepers.

    What is 0 is left out.
    """

    singles: int = 0
    tasks: int = 0
    rate: float = 0
    seconds: float = 0
    sleepers: int = 0


@contextmanager
def running_peers(servers: Servers, names: Sequence[str] = tuple(PEERS), *, limit: float = 30) -> Iterator[list[Peer]]:
    """These peers, installed if need be, ready to be measured. One that can't be installed answers Unable to all."""
    failed = make_venvs(PEERS[name].module for name in names)
    with tempfile.TemporaryDirectory(prefix="taskmill-bench-peers-") as folder, ExitStack() as stack:
        pids = asyncio.run(server_pids(servers))
        peers = []
        for name in names:
            spec = PEERS[name]
            store = stack.enter_context(Store(spec, servers))
            peers.append(
                Peer(spec, store, Path(folder), limit=limit, server_pids=pids, unable=failed.get(spec.module, ""))
            )
        yield peers


def measure(contender: Contender, turn: Turn, number: int, tell: Tell) -> None:
    """Tell each figure of its turn as it is found, of this round; what it is unable to do is Missing."""
    for part in _parts(turn):
        try:
            contender.reset()
            values = part(contender, turn)
        except Exception as error:  # noqa: BLE001 - a finding, not the end of the run
            why = str(error) if isinstance(error, Unable) else f"{type(error).__name__}: {error}"
            tell(Missing(contender.name, (part.__doc__ or "").rstrip("."), why))
            continue
        for (measured, unit), value in values.items():
            tell(Figure(contender.name, measured, unit, value, number))


Part = Callable[[Contender, Turn], dict[tuple[str, str], float]]


def _parts(turn: Turn) -> list[Part]:
    parts: list[Part] = [_one_by_one] if turn.singles else []
    parts += [_batch, _drain_with_one, _drain_with_two] if turn.tasks else []
    parts += [_latency] if turn.seconds else []
    return parts + ([_sleepers] if turn.sleepers else [])


def _one_by_one(contender: Contender, turn: Turn) -> dict[tuple[str, str], float]:
    """Enqueue one by one."""
    return {("enqueue one by one", "tasks/s"): turn.singles / contender.enqueue(turn.singles, batch=False)}


def _batch(contender: Contender, turn: Turn) -> dict[tuple[str, str], float]:
    """Enqueue in batches."""
    return {("enqueue in batches", "tasks/s"): turn.tasks / contender.enqueue(turn.tasks, batch=True)}


def _drain_with_one(contender: Contender, turn: Turn) -> dict[tuple[str, str], float]:
    """No-op tasks, 1 worker."""
    drained = contender.drain(turn.tasks, workers=1)
    return {**_drained(drained, "1 worker"), ("peak memory, 1 worker", "MiB"): drained.peak}


def _drain_with_two(contender: Contender, turn: Turn) -> dict[tuple[str, str], float]:
    """No-op tasks, 2 workers."""
    return _drained(contender.drain(2 * turn.tasks, workers=2), "2 workers")


def _drained(drained: Drained, workers: str) -> dict[tuple[str, str], float]:
    values = {
        (f"no-op tasks, {workers}", "tasks/s"): drained.done / drained.seconds,
        (f"CPU for 1,000 tasks, {workers}", "ms"): 1e6 * drained.cpu / drained.done,
    }
    if drained.servers_cpu is not None:
        values[f"CPU of the servers for 1,000 tasks, {workers}", "ms"] = 1e6 * drained.servers_cpu / drained.done
    return values


def _latency(contender: Contender, turn: Turn) -> dict[tuple[str, str], float]:
    """Enqueue to start."""
    found = contender.latencies(turn.rate, turn.seconds)
    return {
        ("enqueue to start, p50", "ms"): percentile(found, 50),
        ("enqueue to start, p99", "ms"): percentile(found, 99),
    }


def _sleepers(contender: Contender, turn: Turn) -> dict[tuple[str, str], float]:
    """Sleepers of 1 s in one worker."""
    slept: Drained = contender.sleepers(turn.sleepers)
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
    few, tasks = arguments.tasks // 5, arguments.tasks
    turn = Turn(singles=few, tasks=tasks, rate=50, seconds=10, sleepers=few)
    with tcp_servers() as servers, running_peers(servers, arguments.peers.split(",")) as peers:
        for number in range(arguments.rounds):
            for peer in peers[:: -1 if number % 2 else 1]:
                measure(peer, turn, number, lambda found: print(found, flush=True))


if __name__ == "__main__":
    main()
