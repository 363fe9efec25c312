"""What a process counts, for Prometheus.

With PROMETHEUS_MULTIPROC_DIR the processes of one Supervisor keep their numbers in files there, and each of them shows
the sums of all; without, a process shows its own.
"""

import fcntl
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.core.counted import COUNTED, Counted
from app.core.events import Event, GroupsPruned, LimitedAlone, TasksCreated, TasksPruned

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAMESPACE = "taskmill"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_TASKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


class Times(Histogram):
    """A histogram of seconds that takes many observations at once."""

    bounds = _SECONDS

    def add(self, counts: Iterable[float], seconds: float) -> None:
        """How many observations fell between the bounds, and the sum of all."""
        self._sum.inc(seconds)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Metrics:
    """One for a process. `count` costs a microsecond or two, and may be called from any thread."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second line for each, which files do not have
        registry = CollectorRegistry()
        self._shown: Collector = registry
        folder = os.environ.get(FOLDER_VARIABLE)
        if folder:
            self._slot = _Slot(Path(folder))
            self._shown = _Files(Path(folder))
            values.ValueClass = values.MultiProcessValue(self._slot.name)
        else:
            values.ValueClass = values.MutexValue
        self._counters = {
            counted: Counter(counted.name, counted.help, counted.labels, _NAMESPACE, registry=registry)
            for counted in dict.fromkeys(itertools.chain(*COUNTED.values()))
        }
        for counted, counter in self._counters.items():
            for code in counted.codes:
                counter.labels(code)
        self._batches = Histogram(
            "create_batch_tasks", "Tasks kept at once.", (), _NAMESPACE, registry=registry, buckets=_TASKS
        )
        self.requests = Times(
            "http_request_duration_seconds",
            "From a request until the head of its answer.",
            ("method", "route", "status"),
            _NAMESPACE,
            registry=registry,
            buckets=Times.bounds,
        )

    def count(self, event: Event) -> None:
        """Count what has happened."""
        for counted in COUNTED.get(type(event), ()):
            self._counter(counted, event).inc(_tasks(event))
        if isinstance(event, TasksCreated):
            self._batches.observe(len(event.task_ids))

    def text(self, *more: Collector) -> bytes:
        """All numbers in Prometheus' text format; also those of `more`."""
        registry = CollectorRegistry()
        for collector in (self._shown, *more):
            registry.register(collector)
        return generate_latest(registry)

    def _counter(self, counted: Counted, event: Any) -> Counter:
        counter = self._counters[counted]
        return counter.labels(*(getattr(event, name) for name in counted.labels)) if counted.labels else counter


class _Slot:
    """The part of the file names that is this process's.

    It is the first that no living process holds, so that whoever comes after a dead process counts on where that one
    stopped: there are never more files than there were processes at once, and no number goes down.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in itertools.count():
            self._lock = (folder / f"{number}.lock").open("ab")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until the process has ended, however it ends
            except BlockingIOError:
                self._lock.close()
            else:
                self._name = str(number)
                return

    def name(self) -> str:
        return self._name


class _Files(Collector):
    """The sums of all processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        found: Iterable[Metric] = MultiProcessCollector.merge([str(path) for path in self._folder.glob("*.db")])
        return sorted(found, key=lambda metric: metric.name)


def _tasks(event: Any) -> int:
    if isinstance(event, TasksPruned | GroupsPruned | LimitedAlone):
        return event.count
    return len(event.task_ids) if hasattr(event, "task_ids") else 1
