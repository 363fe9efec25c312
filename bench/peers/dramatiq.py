"""Dramatiq on Redis."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers.common import Client, execute, redis_url, run
from bench.peers.jobs import JOBS

broker = RedisBroker(url=redis_url())
dramatiq.set_broker(broker)
TASKS = {name: dramatiq.actor(job, actor_name=name) for name, job in JOBS.items()}


def work(setting: str) -> None:
    """`setting` is gevent:GREENLETS or threads:THREADS, of one process."""
    kind, number = setting.split(":")
    program = "dramatiq-gevent" if kind == "gevent" else "dramatiq"
    execute(program, "bench.peers.dramatiq", "-p", "1", "-t", number)


if __name__ == "__main__":
    broker.client.ping()
    run(
        Client(
            send=lambda task, x: TASKS[task].send(x),
            # A group sends one message after another.
            send_many=lambda task, xs: dramatiq.group([TASKS[task].message(x) for x in xs]).run(),
        ),
        work,
    )
