"""The peers: how each is run at its best, and what its store holds while tasks have not ended.

A setting was the best of those `tried` in a short run with tasks that do nothing, those for tasks that sleep the best
of one or two more. `{count}` in a setting stands for the number of sleepers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Left = Callable[[Any], int]  # of a redis.Redis: its commands are typed as if they might have to be awaited


@dataclass(frozen=True)
class Spec:
    """A peer. `module` is its script in bench.peers and its environment; `batch` is how it sends many.

    `left` counts the tasks that have not ended: by a Redis, or in PostgreSQL by this query.
    """

    name: str
    module: str
    setting: str
    tried: tuple[str, ...]
    nap_setting: str
    batch: str
    left: Left | str
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_postgres(self) -> bool:
        """Whether its tasks are in PostgreSQL, else in Redis."""
        return isinstance(self.left, str)


ONE_BY_ONE = "none: one by one"
_MANY = "50 sends in flight"

PEERS = {
    spec.name: spec
    for spec in (
        Spec(
            "celery",
            "celery",
            "solo:1",
            ("solo:1", "threads:10", "prefork:2", "gevent:100"),
            "gevent:{count}",
            "group(), 1,000",
            lambda r: r.llen("celery") + r.hlen("unacked"),
        ),
        Spec(
            "rq",
            "rq",
            "SimpleWorker",
            ("SimpleWorker", "Worker (a fork a task)"),
            "SimpleWorker",
            "enqueue_many, 1,000",
            lambda r: r.llen("rq:queue:bench") + r.zcard("rq:wip:bench"),
        ),
        Spec(
            "dramatiq",
            "dramatiq",
            "gevent:50",
            ("threads:4", "threads:8", "gevent:50"),
            "threads:500",
            "group(), 1,000",
            lambda r: r.hlen("dramatiq:default.msgs"),
        ),
        Spec(
            "huey",
            "huey",
            "thread:4",
            ("thread:1", "thread:4", "greenlet:20"),
            "greenlet:{count}",
            ONE_BY_ONE,
            lambda r: r.llen("huey.redis.bench"),
        ),
        Spec("arq", "arq", "1000", ("10", "100", "1000"), "{count}", _MANY, lambda r: r.zcard("arq:queue")),
        Spec("saq (redis)", "saq", "100", ("10", "100"), "{count}", _MANY, lambda r: r.zcard("saq:default:incomplete")),
        Spec(
            "saq (postgres)",
            "saq",
            "100",
            ("10", "100"),
            "{count}",
            _MANY,
            "SELECT count(*) FROM saq_jobs WHERE status IN ('queued', 'active')",
            {"BENCH_KIND": "postgres"},
        ),
        Spec("taskiq (list)", "taskiq", "100", ("100", "500"), "{count}", _MANY, lambda r: r.llen("taskiq")),
        Spec(
            "taskiq (stream)",
            "taskiq",
            "100",
            ("100", "500"),
            "{count}",
            _MANY,
            lambda r: r.xpending("taskiq", "taskiq")["pending"],
            {"BENCH_KIND": "stream"},
        ),
        Spec(
            "streaq",
            "streaq",
            "16",
            ("16", "64", "256"),
            "{count}",
            "enqueue_many, 1,000, two in flight",
            lambda r: r.xlen("streaq:default:queues:normal"),
        ),
        Spec(
            "procrastinate",
            "procrastinate",
            "10",
            ("10", "50"),
            "1000",
            "batch_defer, 1,000, two in flight",
            "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')",
        ),
        Spec(
            "pgqueuer",
            "pgqueuer",
            "500",
            ("10", "100", "500", "1000"),
            "500",
            "a list of 1,000, two in flight",
            "SELECT count(*) FROM pgqueuer",
        ),
        Spec(
            "chancy",
            "chancy",
            "500",
            ("100", "500"),
            "{count}",
            "push_many, 1,000, two in flight",
            "SELECT count(*) FROM chancy_jobs WHERE state IN ('pending', 'running', 'retrying')",
        ),
    )
}
