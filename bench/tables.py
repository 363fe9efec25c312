"""The tables of docs/performance.md."""

from collections.abc import Callable

from bench.against_peers import ENQUEUE, ONE, TWO
from bench.batches import LIMIT
from bench.limits.start import Bare
from bench.peers.catalogue import PEERS
from bench.plots import CONNECTIONS
from bench.results import Results
from bench.standing import Laden
from bench.targets import NAIVE, OPERATIONS, US, targets
from bench.taskmill import Taskmill
from bench.words import change, spread, table

_MET = {True: "yes", False: "**missed**", None: "not decided"}
# Of creates and reads: words and measure.
_HTTP = [
    *((f"creates/s, {connections}", f"creates_{number}") for number, connections in CONNECTIONS.items()),
    *(
        (f"{share} of a create, {number}, ms", f"create_{number}_{share}")
        for number in CONNECTIONS
        for share in ("p50", "p99")
    ),
    ("reads/s by id, 64", "reads_64"),
    ("p99 of a read, 64, ms", "read_64_p99"),
    ("API, CPU a create, ms", "api_cpu_create"),
    ("API, peak memory, MiB", "api_peak"),
]
_WORK = [
    ("no-op tasks/s, one consumer", "drains", "noop_1"),
    ("no-op tasks/s, two consumers", "drains", "noop_2"),
    ("consumer, CPU a task, ms", "drains", "noop_1_cpu"),
    ("consumer, peak memory, MiB", "drains", "noop_1_peak"),
    ("row to its start, p50, ms", "latency", "row_to_start_p50"),
    ("row to its start, p99, ms", "latency", "row_to_start_p99"),
]
_PEERS = [
    ("no-op tasks/s, 1", ONE),
    ("2 workers", TWO),
    ("enqueue/s, one by one", ENQUEUE),
    ("in batches", "enqueue in batches"),
    ("to start, p50 ms", "enqueue to start, p50"),
    ("p99 ms", "enqueue to start, p99"),
    ("sleepers/s", "sleepers of 1 s, 1 worker"),
    ("CPU of 1,000, ms", "CPU for 1,000 tasks, 1 worker"),
    ("of the servers", "CPU of the servers for 1,000 tasks, 1 worker"),
    ("MiB", "peak memory, 1 worker"),
]
_START = [
    ("POST to the handler's first line, p50, ms", "start_p50"),
    ("POST to the handler's first line, p99, ms", "start_p99"),
]
_ALONE = [
    ("cancel of a running task, answered, p50, ms", "cancels", "cancel_answered_p50"),
    ("cancel of a running task, answered, p99, ms", "cancels", "cancel_answered_p99"),
    ("until its handler has stopped, p50, ms", "cancels", "cancel_stopped_p50"),
    ("until its handler has stopped, p99, ms", "cancels", "cancel_stopped_p99"),
    ("tasks that sleep 5 s at once in one consumer", "sleepers", "sleepers"),
    ("from the first one's start to the last one's end, s", "sleepers", "sleepers_took"),
    ("that consumer, peak memory, MiB", "sleepers", "sleepers_peak"),
    ("idle consumer, statements/s", "idle", "idle_statements_consumer"),
    ("idle API, statements/s", "idle", "idle_statements_api"),
    ("idle consumer, % of a core", "idle", "idle_cpu_consumer"),
    ("idle API, % of a core", "idle", "idle_cpu_api"),
]


def target_table(results: Results) -> str:
    """What was to be reached."""
    return table(
        ["target", "reached", "met"], [[one.target, one.reached, _MET[one.is_met]] for one in targets(results)]
    )


def run_table(results: Results) -> str:
    """When and where."""
    minutes = sum(part.seconds for part in results.parts.values()) / 60
    days: dict[str, list[str]] = {}
    for name, part in results.parts.items():
        days.setdefault(part.when[:10], []).append(name)
    day = ", ".join(days)
    if len(days) > 1:
        day = "; ".join(f"{day}: {', '.join(names)}" for day, names in days.items())
    where = f"on {results.machine}; the load generator (wrk) and the servers on the same machine"
    lines = [f"{results.dose.capitalize()} run, {day}, {minutes:.0f} minutes, {where}. Medians (least–most)."]
    if results.versions:
        lines.append("\n" + "; ".join(f"{name} {version}" for name, version in results.versions.items()) + ".")
    failures = [f"- {name}: {line}" for name, part in results.parts.items() for line in part.failures]
    return "\n".join([*lines, *(["\nFailed:\n", *failures] if failures else [])])


def create_table(results: Results) -> str:
    """Beside the naive implementation; and what HTTP alone costs."""
    rows = [_beside(results, words, "creates", measure) for words, measure in _HTTP]
    floor = [
        [f"a POST that does nothing, 64: {name}", spread(results.values("creates", name, "creates_64")), "", ""]
        for name in results.subjects("creates", "creates_64")
        if name not in {US, NAIVE}
    ]
    return table(["", US, NAIVE, "ratio"], [row for row in rows if row[1] != "–"] + floor)


def batch_table(results: Results) -> str:
    """Beside PostgreSQL's own."""
    rows = []
    for name in results.subjects("batches", "batch"):
        ratios = results.ratios("batches", "batch", name, LIMIT)
        cpu = spread(results.values("batches", name, "batch_cpu"))
        rows.append([name, spread(results.values("batches", name, "batch")), spread(ratios), cpu])
    return table(["way", "rows/s", "of the bare insert", "API, CPU µs a row"], rows)


def work_table(results: Results) -> str:
    """Beside the naive implementation."""
    return table(["", US, NAIVE, "ratio"], [_beside(results, *line) for line in _WORK])


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
    ours = [US, Taskmill.setting, ", ".join(Taskmill.tried), "{count} slots", "arrays of 1,000, two in flight"]
    head = ["", "no-op tasks, latency", "the best of", "sleepers", "in batches"]
    return table(head, [[cell.replace("{count}", "N") for cell in row] for row in [ours, *rows]])


def start_table(results: Results) -> str:
    """Beside the least that has to happen."""
    return table(
        ["", US, Bare.name, "ratio"],
        [_beside(results, words, "latency", measure, Bare.name) for words, measure in _START],
    )


def alone_table(results: Results) -> str:
    """What is told of Taskmill only."""
    return table(["", US], [[words, spread(results.values(part, US, measure))] for words, part, measure in _ALONE])


def standing_table(results: Results) -> str:
    """With and without."""
    rows = []
    for part, prefix, words in (("history", "ended", "ended"), ("delayed", "delayed", "delayed")):
        count = results.median(part, US, f"{prefix}_rows")
        for operation in OPERATIONS:
            measure = f"{prefix}_{operation}"
            rates, cpu = (results.ratios(part, name, Laden.name, US) for name in (measure, f"{measure}_cpu"))
            if rates and count:
                rows.append(
                    [
                        f"{count:,.0f} {words}: {operation}/s",
                        *(spread(results.values(part, name, measure)) for name in (US, Laden.name)),
                        change(rates),
                        change(cpu),
                    ]
                )
    return table(["", "without", "with", "change", "of the CPU an operation"], rows)


def limit_table(results: Results) -> str:
    """What the servers do when nobody thinks."""
    part = "limits"
    figures = results.parts[part].figures if part in results.parts else []
    names = dict.fromkeys((one.subject, one.measure, one.unit) for one in figures)
    rows = [
        [subject, measure, f"{spread(results.values(part, subject, measure))} {unit}"]
        for subject, measure, unit in names
    ]
    return table(["", "", "limit"], rows)


def _beside(results: Results, words: str, part: str, measure: str, other: str = NAIVE) -> list[str]:
    ours, theirs = (spread(results.values(part, name, measure)) for name in (US, other))
    return [words, ours, theirs, spread(results.ratios(part, measure, US, other))]


TABLES: dict[str, Callable[[Results], str]] = {
    "targets": target_table,
    "run": run_table,
    "creates": create_table,
    "batches": batch_table,
    "work": work_table,
    "peers": peer_table,
    "settings": setting_table,
    "start": start_table,
    "alone": alone_table,
    "standing": standing_table,
    "limits": limit_table,
}
