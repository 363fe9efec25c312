"""PostgreSQL and Valkey that crash and come back, and the links to them."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

import asyncpg

from app.db.migrate import migrate
from app.embedded import postgres, valkey
from app.embedded.account import Account, server_account
from app.embedded.server import Server
from tests.chaos.disk import Disk, small_disk
from tests.chaos.links import Link, linked, through
from tests.support.pids import are_gone, children_of
from tests.support.proxy import Upstream
from tests.support.types import Connection

START_SECONDS = 60.0
MAX_CONNECTIONS = 120
_LOOK_SECONDS = 0.01


class Running:
    """One server and its process."""

    def __init__(self, server: Server, log: Path) -> None:
        self.server = server
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        assert self._process is not None
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        """Start it; wait elsewhere until it answers."""
        self._process = self.server.start(self.log)

    async def kill(self) -> None:
        """SIGKILL of it and of all its children at once. Returns when all are gone.

        The machine lives on, and with it what was written and not yet synced: this does not test fsync.
        """
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)  # it must have no further children while we look
            children = children_of(self.pid)
            self._process.kill()
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            await are_gone(*children, seconds=START_SECONDS)
        await asyncio.to_thread(self._process.wait, START_SECONDS)

    async def quit(self) -> None:
        """SIGQUIT, which ends PostgreSQL at once and without a checkpoint. Returns when all of it is gone."""
        if not self.has_ended():
            assert self._process is not None
            children = children_of(self.pid)
            self._process.send_signal(signal.SIGQUIT)
            await asyncio.to_thread(self._process.wait, START_SECONDS)
            await are_gone(*children, seconds=START_SECONDS)

    async def stop(self, number: signal.Signals) -> None:
        """Stop it in order."""
        if not self.has_ended():
            assert self._process is not None
            self._process.send_signal(number)
            await asyncio.to_thread(self._process.wait, START_SECONDS)


class ChaosServers:
    """The servers of one scene. `database_url` and `redis_url` go past all links."""

    def __init__(self, postgresql: Running, redis: Running, links: dict[str, Link], disk: Disk) -> None:
        self.postgresql = postgresql
        self.redis = redis
        self.links = links
        self.disk = disk  # PostgreSQL's

    @property
    def database_url(self) -> str:
        """PostgreSQL, directly."""
        return self.postgresql.server.url

    @property
    def superuser_url(self) -> str:
        """The same as its superuser, for whom some connections are kept."""
        return self.database_url.replace("//taskmill@", "//postgres@")

    @property
    def redis_url(self) -> str:
        """Valkey, directly."""
        return self.redis.server.url

    def url_through(self, link: str) -> str:
        """The address of the server at the end of this link, by way of it."""
        return through(self.links[link], self.database_url if link.endswith("postgres") else self.redis_url)

    def aim_clients(self, host: str, port: int) -> str:
        """Let the clients' link lead to the API; the API's address by way of it."""
        link = self.links["client-api"]
        link.upstream = Upstream(None, host, port)
        return f"http://127.0.0.1:{link.port}"

    async def connect(self) -> Connection:
        """A connection straight to PostgreSQL."""
        return await asyncpg.connect(self.database_url, timeout=5)

    async def crash_postgres(self, how: signal.Signals = signal.SIGKILL, down_seconds: float = 0) -> float:
        """SIGKILL everything of PostgreSQL, or SIGQUIT it, and start it again; the seconds until it answers."""
        begun = time.monotonic()
        await (self.postgresql.quit() if how == signal.SIGQUIT else self.postgresql.kill())
        await asyncio.sleep(down_seconds)
        await self.start_postgres()
        return time.monotonic() - begun

    async def start_postgres(self) -> None:
        """Start it after a crash, and wait until it has recovered and answers."""
        self.postgresql.start()
        await self.postgres_answers()

    async def postgres_answers(self) -> None:
        """Wait until it answers. Raises RuntimeError when it has ended, or does not answer in time."""
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                connection = await self.connect()
            except (OSError, TimeoutError, asyncpg.PostgresError) as error:
                if self.postgresql.has_ended() or time.monotonic() > give_up:
                    raise RuntimeError(f"PostgreSQL: {error!r}: {_end_of(self.postgresql.log)}") from error
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                await connection.close()
                return

    def supervise_postgres(self) -> None:
        """Start it if it has ended by itself, as Supervisor does."""
        if self.postgresql.has_ended():
            self.postgresql.start()

    async def revive_postgres(self) -> None:
        """Wait until it answers, starting it as often as it ends. Raises RuntimeError when it stays away."""
        give_up = time.monotonic() + START_SECONDS
        while True:
            self.supervise_postgres()
            try:
                await self.postgres_answers()
            except RuntimeError:
                if time.monotonic() > give_up:
                    raise
            else:
                return

    async def kill_redis(self) -> float:
        """SIGKILL Valkey, which keeps nothing, and start it again; the seconds until it answers."""
        begun = time.monotonic()
        await self.redis.kill()
        await self.start_redis()
        return time.monotonic() - begun

    async def stop_redis(self) -> None:
        """Stop Valkey, until start_redis."""
        await self.redis.kill()

    async def start_redis(self) -> None:
        """Start Valkey and wait until it answers."""
        self.redis.start()
        give_up = time.monotonic() + START_SECONDS
        while not self.redis.server.answers():
            if self.redis.has_ended() or time.monotonic() > give_up:
                raise RuntimeError(f"Valkey does not start: {_end_of(self.redis.log)}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def __aenter__(self) -> Self:
        """Start both."""
        self.postgresql.start()
        await asyncio.gather(self.postgres_answers(), self.start_redis())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop both."""
        await asyncio.gather(self.postgresql.stop(signal.SIGINT), self.redis.stop(signal.SIGTERM))


@asynccontextmanager
async def chaos_servers(folder: Path) -> AsyncIterator[ChaosServers]:
    """Durable servers in an empty folder that others may enter, migrated, and all links to them."""
    account = await asyncio.to_thread(server_account)
    (folder / "run").mkdir()
    with small_disk(folder / "disk") as disk:
        async with _servers(folder, account, disk) as servers:
            await asyncio.to_thread(migrate, "postgresql+asyncpg://" + servers.database_url.partition("://")[2])
            yield servers


@asynccontextmanager
async def _servers(folder: Path, account: Account, disk: Disk) -> AsyncIterator[ChaosServers]:
    database = await asyncio.to_thread(
        lambda: postgres.prepare(
            disk.folder / "postgres", folder / "run" / "postgres", account, max_connections=MAX_CONNECTIONS
        )
    )
    # Without its file, as it may be run: a kill of Valkey then loses all of it.
    redis = valkey.prepare(folder / "valkey", folder / "run" / "valkey", account, durable=False)
    async with linked(database.url, redis.url) as links:
        # After a crash it would open every file there is to have it on disk, when one call does that for all of them.
        quick = replace(database, command=(*database.command, "-c", "recovery_init_sync_method=syncfs"))
        postgresql = Running(quick, folder / "postgres.log")
        async with ChaosServers(postgresql, Running(redis, folder / "valkey.log"), links, disk) as servers:
            yield servers


def _end_of(log: Path) -> str:
    return log.read_text()[-2_000:]
