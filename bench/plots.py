"""The plots of docs/performance.md."""

from collections.abc import Callable

from bench.against_peers import ONE, TWO
from bench.results import Results
from bench.svg import Group, bar_chart
from bench.targets import NAIVE, US

_P50, _P99 = "enqueue to start, p50", "enqueue to start, p99"


def creates(results: Results) -> str:
    """By connections."""
    groups = [
        Group(
            f"{connections} connection{'s' if connections > 1 else ''}",
            [results.median("creates", name, f"creates_{connections}") for name in (US, NAIVE)],
        )
        for connections in (1, 16, 64, 256)
    ]
    return bar_chart(
        "Creates by connections", "tasks created a second", [US, NAIVE], [g for g in groups if any(g.values)]
    )


def drains(results: Results) -> str:
    """Against peers, best first; without them, against the naive implementation."""
    if "peers" in results.parts:
        part, measures = "peers", (ONE, TWO)
    else:
        part, measures = "drains", ("noop_1", "noop_2")
    groups = _groups(results, part, measures, descending=True)
    return bar_chart("No-op tasks done", "tasks a second", ["one worker process", "two"], groups)


def latency(results: Results) -> str:
    """Against peers, best first."""
    if "peers" in results.parts:
        part, measures = "peers", (_P50, _P99)
    else:
        part, measures = "latency", ("row_to_start_p50", "row_to_start_p99")
    groups = _groups(results, part, measures, descending=False)
    return bar_chart(
        "From sending a task to its start, idle system", "milliseconds", ["p50", "p99"], groups, is_log=True
    )


def _groups(results: Results, part: str, measures: tuple[str, str], *, descending: bool) -> list[Group]:
    names = results.subjects(part, measures[0])
    groups = [Group(name, [results.median(part, name, measure) for measure in measures]) for name in names]
    return sorted(groups, key=lambda group: group.values[0] or 0, reverse=descending)


PLOTS: dict[str, Callable[[Results], str]] = {"creates": creates, "drains": drains, "latency": latency}
