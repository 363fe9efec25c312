"""Where the tests' PostgreSQL and Redis come from."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.embedded import postgres, valkey
from app.embedded.account import server_account
from app.embedded.server import Server

START_SECONDS = 30.0


@dataclass(frozen=True)
class Servers:
    """Addresses of a PostgreSQL on which databases may be created, and of a Redis that may be flushed."""

    database_url: str
    redis_url: str


@contextmanager
def running_servers(folder: Path, *, durable: bool = False) -> Iterator[Servers]:
    """The servers that the environment names (as docker-compose.test.yml does), else embedded ones in `folder`."""
    if "DATABASE_URL" in os.environ and "REDIS_URL" in os.environ:
        yield Servers(os.environ["DATABASE_URL"], os.environ["REDIS_URL"])
        return
    account = server_account()
    (folder / "run").mkdir()
    with ExitStack() as stack:
        database = postgres.prepare(
            folder / "postgres", folder / "run" / "postgres", account, durable=durable, max_connections=300
        )
        redis = valkey.prepare(folder / "valkey", folder / "run" / "valkey", account, durable=durable)
        stack.enter_context(running(database, folder / "postgres.log", signal.SIGINT))
        stack.enter_context(running(redis, folder / "valkey.log", signal.SIGTERM))
        yield Servers(database.url, redis.url)


@contextmanager
def running(server: Server, log: Path, stop: signal.Signals) -> Iterator[None]:
    """One server, from when it answers; at the end it gets the signal on which it stops."""
    process = server.start(log)
    try:
        give_up = time.monotonic() + START_SECONDS
        while not server.answers():
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{server.title} does not start: {log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(stop)
        process.wait(START_SECONDS)
