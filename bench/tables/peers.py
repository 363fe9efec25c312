"""Beside other task queues."""

from bench.against_peers import BATCHES, ENQUEUE, ONE, TWO
from bench.peers.catalogue import PEERS
from bench.results import Results
from bench.taskmill import DEFAULT, SLOTS, TRIED, US
from bench.words import spread, table

_PEERS = [
    ("no-op tasks/s, 1", ONE),
    ("2 workers", TWO),
    ("enqueue/s, one by one", ENQUEUE),
    ("in batches", BATCHES),
    ("to start, p50 ms", "enqueue to start, p50"),
    ("p99 ms", "enqueue to start, p99"),
    ("sleepers/s", "sleepers of 1 s, 1 worker"),
    ("CPU of 1,000, ms", "CPU for 1,000 tasks, 1 worker"),
    ("of the servers, ms", "CPU of the servers for 1,000 tasks, 1 worker"),
    ("MiB", "peak memory, 1 worker"),
]


def peer_table(results: Results) -> str:
    """Best first."""
    first = _PEERS[0][1]
    names = sorted(results.subjects("peers", first), key=lambda name: -(results.median("peers", name, first) or 0))
    rows = []
    for name in names:
        cells = [spread(results.values("peers", name, measure)) for _, measure in _PEERS]
        rows.append([name, str(len(results.values("peers", name, first))), *cells])
    return table(["", "turns", *(words for words, _ in _PEERS)], rows)


def setting_table(_: Results) -> str:
    """How the workers of each run, and what else was tried; N stands for the number of sleepers."""
    rows = [[spec.name, spec.setting, ", ".join(spec.tried), spec.nap_setting, spec.batch] for spec in PEERS.values()]
    arrays = "arrays of 1,000, two in flight"
    ours = [
        [US, f"{SLOTS} slots", ", ".join(TRIED), "{count} slots", arrays],
        [DEFAULT, "100 slots", "–", "–", arrays],
    ]
    head = ["", "no-op tasks, latency", "the best of", "sleepers", "in batches"]
    return table(head, [[cell.replace("{count}", "N") for cell in row] for row in [*ours, *rows]])
