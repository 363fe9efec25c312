"""What benchmarks run on."""

import os
import random
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from app.core.config import DatabaseSettings
from app.db.migrate import migrate
from app.embedded import postgres, valkey
from app.embedded.account import server_account
from tests.support.servers import Servers, running, running_servers


@contextmanager
def bench_servers() -> Iterator[Servers]:
    """PostgreSQL and Redis: those of DATABASE_URL and REDIS_URL, else embedded ones with fsync on."""
    with tempfile.TemporaryDirectory(prefix="taskmill-bench-") as folder:
        Path(folder).chmod(0o755)
        with running_servers(Path(folder), durable=True) as servers:
            yield servers


@contextmanager
def migrated_servers() -> Iterator[None]:
    """The same, in the environment as well, so that processes find them, with the schema in the database."""
    with bench_servers() as servers:
        os.environ |= {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}
        migrate(DatabaseSettings().database_url)
        yield


@contextmanager
def tcp_servers() -> Iterator[Servers]:
    """Those of DATABASE_URL and REDIS_URL, else embedded ones that listen on TCP on 127.0.0.1 only.

    So that contenders reach them by the addresses that all of them know. PostgreSQL has its default settings, fsync on,
    but for the number of connections; Redis writes neither snapshots nor an append-only file.
    """
    if "DATABASE_URL" in os.environ and "REDIS_URL" in os.environ:
        yield Servers(os.environ["DATABASE_URL"], os.environ["REDIS_URL"])
        return
    account = server_account()
    sql_port, redis_port = _free_ports(2)
    with tempfile.TemporaryDirectory(prefix="taskmill-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        sockets = folder / "run"
        sockets.mkdir()
        database = postgres.prepare(folder / "postgres", sockets / "postgres", account, max_connections=300)
        redis = valkey.prepare(folder / "valkey", sockets / "valkey", account, durable=False)
        single = [str(postgres.programs_folder() / "postgres"), "--single", "-j", "-D", str(folder / "postgres")]
        account.run([*single, "postgres"], stdin=f"GRANT pg_checkpoint TO {postgres.NAME};\n\n")
        # Only the role of the database, which is no superuser; and the data is worth nothing.
        (folder / "postgres" / "pg_hba.conf").write_text(f"host all {postgres.NAME} 127.0.0.1/32 trust\n")
        options = ("-c", "listen_addresses=127.0.0.1", "-c", f"port={sql_port}")
        ready = [str(postgres.programs_folder() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(sql_port)]
        database = replace(
            database, command=(*database.command, *options), answers=lambda: account.run(ready).returncode == 0
        )
        redis = replace(redis, command=(*redis.command, "--port", str(redis_port), "--bind", "127.0.0.1"))
        with (
            running(database, folder / "postgres.log", signal.SIGINT),
            running(redis, folder / "valkey.log", signal.SIGTERM),
        ):
            yield Servers(
                f"postgresql://{postgres.NAME}@127.0.0.1:{sql_port}/{postgres.NAME}",
                f"redis://127.0.0.1:{redis_port}/0",
            )


def _free_ports(number: int) -> list[int]:
    """Below those that the kernel takes for outgoing connections, or a client under test may come to hold one.

    In no order: two benchmarks that start at the same time would else find the same.
    """
    found: list[int] = []
    for port in random.sample(range(24_000, 32_000), 8_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == number:
            return found
    raise RuntimeError("no free port between 24000 and 32000")
