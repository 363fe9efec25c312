"""What benchmarks run on."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.config import DatabaseSettings
from app.db.migrate import migrate
from tests.support.servers import Servers, running_servers


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
