"""What is read from PostgreSQL when GET /metrics is asked: how much there is now, whoever counted it."""

from collections.abc import Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.core.errors import DatabaseBusyError, DatabaseUnavailableError
from app.db.engine import Database
from app.queue.counts import read_loads
from app.queue.queues import live_consumers, read_oldest

_STATUSES = ("pending", "processing", "completed", "failed", "canceled")


class Gauges(Collector):
    """A moment's values."""

    def __init__(self, metrics: Sequence[GaugeMetricFamily]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[GaugeMetricFamily]:
        """As Prometheus' client asks for them."""
        return self._metrics


async def read_gauges(database: Database, kinds: Sequence[str], lease_seconds: float) -> Gauges:
    """The values now. While PostgreSQL is away, or busy with others, there is only one: which of the two."""
    up = GaugeMetricFamily("taskmill_postgresql_up", "Whether PostgreSQL answers.")
    try:
        loads = await read_loads(database)
        oldest = await read_oldest(database, kinds)
        living = await live_consumers(database, lease_seconds)
    except DatabaseUnavailableError as error:
        up.add_metric([], int(isinstance(error, DatabaseBusyError)))
        return Gauges([up])
    up.add_metric([], 1)
    tasks = GaugeMetricFamily("taskmill_tasks", "Tasks that there are.", labels=("kind", "status"))
    for kind in sorted({*kinds, *loads}):
        for status in _STATUSES:
            tasks.add_metric((kind, status), getattr(loads.get(kind), status, 0))
    wait = GaugeMetricFamily(
        "taskmill_oldest_wait_seconds", "Since the oldest task came due that could be claimed now.", labels=("kind",)
    )
    for kind in kinds:
        wait.add_metric((kind,), oldest.get(kind, 0))
    consumers = GaugeMetricFamily("taskmill_consumers", "Consumers that hold a lease.", len(living))
    return Gauges([up, tasks, wait, consumers])
