"""Huey on Redis: no results. It has no batches."""

import sys

if "greenlet" in sys.argv:  # the application's to do, before anything else is imported
    from gevent import monkey

    monkey.patch_all()

import redis
from huey import RedisHuey

from bench.peers.common import Client, execute, redis_url, run
from bench.peers.jobs import JOBS

# redis-py allows 100 connections and fails above that; a thread or greenlet of the worker holds one.
pool = redis.ConnectionPool.from_url(redis_url(), max_connections=20_000)
huey = RedisHuey("bench", connection_pool=pool, results=False)
TASKS = {name: huey.task(name=name)(job) for name, job in JOBS.items()}


def work(setting: str) -> None:
    """`setting` is thread:THREADS or greenlet:GREENLETS."""
    kind, number = setting.split(":")
    execute("huey_consumer", "bench.peers.huey.huey", "-k", kind, "-w", number, "-q", "-n")


if __name__ == "__main__":
    redis.Redis(connection_pool=pool).ping()
    run(Client(lambda task, x: TASKS[task](x)), work)
