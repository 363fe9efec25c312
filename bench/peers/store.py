"""Where a peer keeps its tasks: a database of its own in PostgreSQL, or the Redis database of the peers."""

import asyncio
from typing import Self

import asyncpg
from redis import Redis

from bench.databases import leave, recreate, redis_database
from bench.peers.catalogue import Spec
from tests.conftest import with_database
from tests.support.servers import Servers
from tests.support.types import Connection

REDIS_DATABASE = 9  # all peers': one at a time uses it


class Store:
    """It blocks, on one connection that is kept, so that looking often costs the worker little."""

    def __init__(self, spec: Spec, servers: Servers) -> None:
        self._spec = spec
        self._database = "peer_" + "".join(c if c.isalnum() else "_" for c in spec.name).strip("_")
        self._servers = servers
        self._runner = asyncio.Runner()
        self._connection: Connection | None = None
        self._redis = Redis.from_url(redis_database(servers.redis_url, REDIS_DATABASE))

    def addresses(self) -> dict[str, str]:
        """For the peer's processes."""
        redis = redis_database(self._servers.redis_url, REDIS_DATABASE)
        return {"BENCH_REDIS": redis, "BENCH_POSTGRES": with_database(self._servers.database_url, self._database)}

    def empty(self) -> None:
        """Nothing in Redis, and a new database without tables."""
        self._redis.flushdb()
        if self._spec.in_postgres:
            self._runner.run(self._recreate(make=True))

    def settle(self) -> None:
        """Let PostgreSQL know its tables, as it does when they are in use."""
        if self._spec.in_postgres:
            self._runner.run(self._query("VACUUM ANALYZE"))

    def left(self) -> int:
        """Tasks that have not ended."""
        if isinstance(self._spec.left, str):
            return self._runner.run(self._query(self._spec.left))
        return self._spec.left(self._redis)

    def __enter__(self) -> Self:
        """It makes nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        self._redis.flushdb()
        self._redis.close()
        if self._spec.in_postgres:
            self._runner.run(self._recreate(make=False))
        self._runner.close()

    async def _query(self, statement: str) -> int:
        if self._connection is None:
            self._connection = await asyncpg.connect(self.addresses()["BENCH_POSTGRES"])
        return await self._connection.fetchval(statement) or 0

    async def _recreate(self, *, make: bool) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        await (recreate if make else leave)(self._servers.database_url, self._database)
