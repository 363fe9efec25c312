"""The plots of docs/performance.md."""

from collections.abc import Callable

from bench.against_peers import ONE, TWO
from bench.results import Results
from bench.svg import Group, bar_chart
from bench.targets import NAIVE
from bench.taskmill import US

_PEERS = "beside other task queues"
CONNECTIONS = {1: "1 connection", **{number: f"{number} connections" for number in (16, 64, 256)}}


def creates(results: Results) -> str:
    """By connections."""
    groups = [
        Group(words, [results.median("creates", name, f"creates_{number}") for name in (US, NAIVE)])
        for number, words in CONNECTIONS.items()
    ]
    return bar_chart(
        "Creates by connections", "tasks created a second", [US, NAIVE], [g for g in groups if any(g.values)]
    )


def drains(results: Results) -> str:
    """Best first."""
    groups, others = _measured(results, ("peers", ONE, TWO), ("drains", "noop_1", "noop_2"))
    groups.sort(key=lambda group: -(group.values[0] or 0))
    return bar_chart(f"No-op tasks done, {others}", "tasks a second", ["one worker process", "two"], groups)


def latency(results: Results) -> str:
    """Best first."""
    of_peers = ("peers", "enqueue to start, p50", "enqueue to start, p99")
    groups, others = _measured(results, of_peers, ("latency", "row_to_start_p50", "row_to_start_p99"))
    groups.sort(key=lambda group: group.values[0] or 0)
    since = "sending a task" if others == _PEERS else "a task's row"
    return bar_chart(f"From {since} to its start, {others}", "milliseconds", ["p50", "p99"], groups, is_log=True)


def _measured(
    results: Results, of_peers: tuple[str, str, str], of_naive: tuple[str, str, str]
) -> tuple[list[Group], str]:
    """Of each one a group of these measures, and beside whom: beside peers, where any of them has been measured so."""
    others = _PEERS if results.subjects(*of_peers[:2]) else "beside a naive implementation"
    part, *measures = of_peers if others == _PEERS else of_naive
    names = results.subjects(part, measures[0])
    return [Group(name, [results.median(part, name, measure) for measure in measures]) for name in names], others


PLOTS: dict[str, Callable[[Results], str]] = {"creates": creates, "drains": drains, "latency": latency}
