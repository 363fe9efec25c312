"""What consumers do, and how soon."""

from bench.limits.start import Bare
from bench.results import Results
from bench.tables.beside import beside
from bench.targets import NAIVE
from bench.taskmill import US
from bench.words import spread, table

# Words, part and measure.
_WORK = [
    ("no-op tasks/s, one consumer", "drains", "noop_1"),
    ("no-op tasks/s, two consumers", "drains", "noop_2"),
    ("consumer, CPU a task, ms", "drains", "noop_1_cpu"),
    ("consumer, peak memory, MiB", "drains", "noop_1_peak"),
    ("row to its start, p50, ms", "latency", "row_to_start_p50"),
    ("row to its start, p99, ms", "latency", "row_to_start_p99"),
]
_START = [
    ("POST to the handler's first line, p50, ms", "latency", "start_p50"),
    ("POST to the handler's first line, p99, ms", "latency", "start_p99"),
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


def work_table(results: Results) -> str:
    """Beside the naive implementation."""
    return table(["", US, NAIVE, "ratio"], [beside(results, *line, NAIVE) for line in _WORK])


def start_table(results: Results) -> str:
    """Beside the least that has to happen."""
    return table(["", US, Bare.name, "ratio"], [beside(results, *line, Bare.name) for line in _START])


def alone_table(results: Results) -> str:
    """What is told of Taskmill only."""
    return table(["", US], [[words, spread(results.values(part, US, measure))] for words, part, measure in _ALONE])
