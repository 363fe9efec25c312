"""Creates, reads and batches."""

from bench.batches import LIMIT
from bench.plots import CONNECTIONS
from bench.results import Results
from bench.tables.beside import beside
from bench.targets import NAIVE
from bench.taskmill import US
from bench.words import spread, table

# Words and measure.
_HTTP = [
    *((f"creates/s, {connections}", f"creates_{number}") for number, connections in CONNECTIONS.items()),
    *(
        (f"{share} of a create, {number}, ms", f"create_{number}_{share}")
        for number in CONNECTIONS
        for share in ("p50", "p99")
    ),
    ("reads/s by id, 64", "reads_64"),
    ("p99 of a read, 64, ms", "read_64_p99"),
    *((f"API, CPU a create, {connections}, µs", f"create_{number}_cpu") for number, connections in CONNECTIONS.items()),
    ("API, peak memory, MiB", "api_peak"),
]


def create_table(results: Results) -> str:
    """Beside the naive implementation; and what HTTP alone costs."""
    rows = [beside(results, words, "creates", measure, NAIVE) for words, measure in _HTTP]
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
