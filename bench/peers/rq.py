"""RQ on Redis: no results, and no child process for each task."""

import redis
import rq

from bench.peers.common import Client, redis_url, run
from bench.peers.jobs import JOBS

connection = redis.Redis.from_url(redis_url(), socket_timeout=None)
queue = rq.Queue("bench", connection=connection)


def send_many(task: str, xs: list[float]) -> None:
    """One pipeline."""
    queue.enqueue_many([rq.Queue.prepare_data(JOBS[task], (x,), result_ttl=0) for x in xs])


def work(_: str) -> None:
    """One task at a time."""
    rq.SimpleWorker([queue], connection=connection, log_job_description=False).work(logging_level="WARNING")


if __name__ == "__main__":
    connection.ping()
    run(Client(lambda task, x: queue.enqueue(JOBS[task], x, result_ttl=0), send_many), work)
