"""One connection pool a process, and the one way to send it a statement."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.core.config import Settings
from app.core.errors import DatabaseBusyError, DatabaseUnavailableError

CONNECT_SECONDS = 2.0
# Of a server that is frozen; together a second, as core/config.py counts them in STOP_SECONDS.
_CANCEL_SECONDS = 0.25
_CLOSE_SECONDS = 0.75
_WORK_SECONDS = 3_600.0  # a handler's statement, whose task has a timeout of its own

# Every statement of the queue finds its rows by id or by a partial index. Statistics of a table that fills and drains
# within minutes are always wrong, and one plan that scans it all stops the queue: so such plans are not on offer.
SESSION = {
    "application_name": "taskmill",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",  # the fences rest on its second look at a locked row
    "lock_timeout": "0",
    "client_connection_check_interval": "2s",  # a backend that waits for a lock for nobody goes away
    "jit": "off",
}
_QUEUE_SESSION = SESSION | {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",  # it would read and sort all of a range, where a walk in order can stop
    "plan_cache_mode": "force_generic_plan",  # planned once: anew each time is half the cost of a lone statement
    # A process that is frozen between two statements holds up others' for no longer.
    "idle_in_transaction_session_timeout": "10000",
}

# The server answered, but only to say that it can't work now: https://www.postgresql.org/docs/current/errcodes-appendix.html
_SERVER_TROUBLE = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.InsufficientResourcesError,  # class 53: disk full, too many connections
    asyncpg.OperatorInterventionError,  # class 57: shutting down, starting up, crashed
    asyncpg.PostgresSystemError,  # class 58: I/O error
    asyncpg.ReadOnlySQLTransactionError,  # 25006: we still talk to the old primary after a failover
    asyncpg.InvalidAuthorizationSpecificationError,  # class 28
    asyncpg.InvalidCatalogNameError,  # 3D000: the database is not there (yet)
    asyncpg.UndefinedTableError,  # 42P01: not migrated yet
    asyncpg.UndefinedColumnError,  # 42703: the same
    asyncpg.InsufficientPrivilegeError,  # 42501
    # Nothing of the statement has taken effect, so it may be sent again:
    asyncpg.TransactionRollbackError,  # class 40: deadlock, serialization
    asyncpg.LockNotAvailableError,  # 55P03
)
_DOUBT = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, DBAPIError)


class Database:
    """A pool of connections in autocommit: one statement is one transaction and one round trip.

    `statement_seconds`: how long a statement, or a wait for a free connection, may take.
    """

    def __init__(
        self,
        url: str,
        pool_size: int,
        statement_seconds: float,
        session: Mapping[str, str] = _QUEUE_SESSION,
    ) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=statement_seconds,
            pool_use_lifo=True,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "timeout": CONNECT_SECONDS,
                "command_timeout": statement_seconds,
                # The server gives up as well: a statement that nobody waits for must not commit later.
                "server_settings": dict(session) | {"statement_timeout": f"{statement_seconds:g}s"},
            },
        )
        # Checked out of SQLAlchemy's pool and used by nobody: to take one from there again is most of what a lone
        # statement costs beside its round trip (decision 0010).
        self._idle: list[tuple[AsyncConnection, Any]] = []
        self._waiting = 0  # for SQLAlchemy's pool
        self._is_closed = False
        self._answered_at = -math.inf  # when PostgreSQL last did, to anybody of this pool

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        """Run one statement in a transaction of its own; the rows it returns.

        Raises DatabaseUnavailableError when PostgreSQL is away or did not answer in time: the statement may or may not
        have taken effect; or DatabaseBusyError: it was not sent. Other errors of PostgreSQL pass as asyncpg raises
        them.
        """
        async with self.connection() as connection:
            rows: Sequence[asyncpg.Record] = await connection.fetch(statement, *arguments)
            return rows

    async def connect(self) -> None:
        """Have a connection at hand. Raises DatabaseUnavailableError."""
        async with self.connection():
            pass

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A pooled asyncpg connection. One whose state is in doubt never goes back to the pool.

        Raises DatabaseUnavailableError, also for what its user meets while holding it; and DatabaseBusyError where none
        became free in time, though others were answered meanwhile.
        """
        try:
            pooled, driver = await self._acquire()
        except (*_SERVER_TROUBLE, *_DOUBT, InterfaceError) as error:
            raise DatabaseUnavailableError(_reason(error)) from error
        keep = False
        try:
            yield driver
            keep = True
        except _SERVER_TROUBLE as error:
            raise DatabaseUnavailableError(_reason(error)) from error
        except asyncpg.PostgresError:
            keep = True  # the server refused the statement; the connection is as good as before
            raise
        except _DOUBT as error:
            raise DatabaseUnavailableError(_reason(error)) from error
        except asyncio.CancelledError:
            await asyncio.shield(_stop(driver))
            raise
        finally:
            if keep and not self._is_closed:
                await self._release(pooled, driver)
            else:
                # Cancelled or cut: the statement may still be running, so the connection must not be used again. What
                # was under way when the pool was closed has nobody to leave it to.
                driver.terminate()  # at once: a server that is frozen would not take part in a farewell
                await asyncio.shield(_drop(pooled))

    async def close(self) -> None:
        """Close every connection; a server that is frozen is not waited for. Those in use close when they are done."""
        self._is_closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._idle:
                    await self._idle.pop()[0].close()
                await self._engine.dispose()

    async def _acquire(self) -> tuple[AsyncConnection, Any]:
        """A pooled connection, and asyncpg's under it. One that the server has closed meanwhile is passed over."""
        while True:
            pooled, driver = self._idle.pop() if self._idle else await self._check_out()
            if not driver.is_closed():
                return pooled, driver
            await _drop(pooled)

    async def _check_out(self) -> tuple[AsyncConnection, Any]:
        asked_at = time.monotonic()
        self._waiting += 1
        try:
            pooled = await self._engine.connect()
            driver = (await pooled.get_raw_connection()).driver_connection
        except PoolTimeoutError as error:
            # Who holds the connections may wait for an answer that never comes; unless one came while we waited.
            if self._answered_at >= asked_at:
                raise DatabaseBusyError from error
            raise DatabaseUnavailableError(_reason(error)) from error
        finally:
            self._waiting -= 1
        assert driver is not None
        return pooled, driver

    async def _release(self, pooled: AsyncConnection, driver: Any) -> None:
        """Keep it at hand, unless somebody waits. In autocommit there is nothing to reset, so nothing to wait for."""
        self._answered_at = time.monotonic()
        if self._waiting:
            await pooled.close()
        else:
            self._idle.append((pooled, driver))


def work_database(settings: Settings) -> Database:
    """A pool for what handlers do in checkpoints: apart, so that the queue never waits for it, and with all plans.

    A handler that is frozen in the middle of a checkpoint holds locks that the next run of its task may need: when its
    lease is over, PostgreSQL ends its transaction.
    """
    session = SESSION | {"idle_in_transaction_session_timeout": f"{settings.lease_seconds:g}s"}
    return Database(settings.database_url, settings.database_pool_size, _WORK_SECONDS, session)


async def _stop(driver: Any) -> None:
    """Have the server stop what was under way, and hear that it has: what was canceled takes no effect later, unseen.

    asyncpg sends the request to cancel a statement from a task, which does not survive terminate(). A server that does
    not answer in time notices later that nobody waits (SESSION).
    """
    with suppress(*_DOUBT, asyncpg.PostgresError):
        await driver.close(timeout=_CANCEL_SECONDS)


async def _drop(pooled: AsyncConnection) -> None:
    await pooled.invalidate()
    await pooled.close()


def _reason(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else "no answer in time"
    return f"{type(error).__name__}: {text}"
