"""Celery on Redis: no results, acknowledged before a task runs, as by default."""

import os

from celery import Celery, group

from bench.peers.common import Client, execute, redis_url, run
from bench.peers.jobs import JOBS

app = Celery("bench", broker=redis_url())
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
TASKS = {name: app.task(job, name=name) for name, job in JOBS.items()}


def work(setting: str) -> None:
    """`setting` is POOL:CONCURRENCY; the more tasks at a time, the fewer are fetched ahead of each."""
    pool, concurrency = setting.split(":")
    ahead = 64 if pool == "solo" else 16 if int(concurrency) <= 100 else 1
    execute(
        *("celery", "-A", "bench.peers.celery", "worker", "-P", pool, "-c", concurrency, "-l", "WARNING"),
        *("--prefetch-multiplier", str(ahead), "--without-gossip", "--without-mingle", "--without-heartbeat"),
        *("-n", f"{os.getpid()}@%h"),
    )


if __name__ == "__main__":
    app.pool.acquire().release()  # connects
    run(
        Client(
            send=lambda task, x: TASKS[task].delay(x),
            # A group sends one message after another, on one producer.
            send_many=lambda task, xs: group(TASKS[task].s(x) for x in xs).apply_async(),
        ),
        work,
    )
