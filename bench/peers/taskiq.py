"""Taskiq on a Redis list or, with BENCH_KIND=stream, on a stream: no results. It has no batches."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskiq_redis import ListQueueBroker, RedisStreamBroker

from bench.peers.common import AsyncClient, execute, redis_url, run_async
from bench.peers.jobs import ASYNC_JOBS

# Without its own limit of 5 s, redis-py ends a wait for a task with an error.
if os.environ.get("BENCH_KIND") == "stream":
    broker = RedisStreamBroker(redis_url(), consumer_id="0", socket_timeout=None)
else:
    broker = ListQueueBroker(redis_url(), socket_timeout=None)
TASKS = {name: broker.register_task(job, task_name=name) for name, job in ASYNC_JOBS.items()}


@asynccontextmanager
async def connect() -> AsyncIterator[AsyncClient]:
    """A client."""
    await broker.startup()
    yield AsyncClient(lambda task, x: TASKS[task].kiq(x))
    await broker.shutdown()


def work(setting: str) -> None:
    """So many tasks at a time, in one process beside the one that watches it."""
    execute(
        *("taskiq", "worker", "bench.peers.taskiq:broker", "-w", "1", "--max-async-tasks", setting),
        *("--max-prefetch", "100", "--log-level", "WARNING"),
    )


if __name__ == "__main__":
    run_async(connect, work)
