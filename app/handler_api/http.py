"""The HTTP client of handlers, which reaches no private address.

A URL in a task comes from whoever may post tasks, and the process that calls it stands inside of our network. So the
guard is where the connection is made: every address that is about to be connected to is checked, one by one, be it
written in the URL, found by a resolver a moment ago, or the target of a redirect. A name that answered with a public
address when somebody looked, and with 127.0.0.1 afterwards, gains nothing.
"""

import asyncio
import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field

from aiohttp import (
    AddrInfoType,
    ClientConnectorError,
    ClientRequest,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from app import __version__
from app.utils.public_address import Reach

USER_AGENT = f"Taskmill/{__version__}"
CONNECT_SECONDS = 10.0  # for one address

_MOST_CONNECTIONS = 500  # in use at once; what is beyond waits
_IDLE_SECONDS = 5.0  # idle connections count for no limit: soon closed, those to many hosts do not use up the files
_RESOLVER_THREADS = 16


class AddressRefusedError(ClientConnectorError):
    """Where this URL leads to is no public address, and none that HTTP_ALLOW_PRIVATE names. Nothing was connected."""

    def __str__(self) -> str:
        """Which address, and what would allow it."""
        return str(self.strerror)


def open_client(allow_private: str, resolver: AbstractResolver | None = None) -> ClientSession:
    """A client for all handlers of a process; close it in the end. `allow_private`: as HTTP_ALLOW_PRIVATE.

    It keeps no cookies, which would carry one caller's session to another, and heeds no proxy of the environment, which
    would connect in its place.
    """
    return ClientSession(
        connector=GuardedConnector(Reach.parse(allow_private), resolver or ThreadResolver()),
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        timeout=ClientTimeout(total=300, sock_connect=CONNECT_SECONDS),
        headers={"User-Agent": USER_AGENT},
    )


@dataclass(slots=True)
class _Attempts:
    """What became of the addresses of one connection."""

    refused: list[str] = field(default_factory=list)
    opened: int = 0


_attempts: ContextVar[_Attempts] = ContextVar("_attempts")


class GuardedConnector(TCPConnector):
    """Opens no socket to an address that is not admitted."""

    def __init__(self, reach: Reach, resolver: AbstractResolver) -> None:
        super().__init__(
            resolver=resolver,
            socket_factory=self._open_socket,
            limit=_MOST_CONNECTIONS,
            keepalive_timeout=_IDLE_SECONDS,
        )
        self._reach = reach
        self._own_resolver = resolver

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - the base class's
    ) -> Connection:
        """As the base class. Raises AddressRefusedError where no address of the host is admitted.

        Of a host with admitted addresses as well, those are tried, and what is said is why they could not be reached.
        """
        attempts = _Attempts()
        token = _attempts.set(attempts)
        try:
            return await super().connect(req, traces, timeout)
        except ClientConnectorError as error:
            if not attempts.refused or attempts.opened:
                raise
            reason = OSError(errno.EACCES, _refusal(req.host, attempts.refused))
            raise AddressRefusedError(req.connection_key, reason) from error
        finally:
            _attempts.reset(token)

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close the connections, and the resolver."""
        await super().close(abort_ssl=abort_ssl)
        await self._own_resolver.close()

    def _open_socket(self, info: AddrInfoType) -> socket.socket:
        """The socket for one attempt, of which there may be several at once (RFC 8305)."""
        family, kind, protocol, _, (address, *_) = info
        attempts = _attempts.get()  # the tasks of the attempts have copies of the context, and so the same object
        if not self._reach.admits(str(address)):
            if address not in attempts.refused:
                attempts.refused.append(str(address))
            raise PermissionError(errno.EACCES, f"{address} is not public")
        attempts.opened += 1
        return socket.socket(family, kind, protocol)


class ThreadResolver(AbstractResolver):
    """The system's resolver, in threads of its own.

    The event loop has but four for all names, PostgreSQL's and Redis's too: some tasks with names whose servers never
    answer would keep a consumer from finding those again.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, "taskmill-resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError."""
        infos = await asyncio.get_running_loop().run_in_executor(
            self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=found,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, protocol, _, address in infos
        ]

    async def close(self) -> None:
        """Wait for no lookup."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _refusal(host: str, addresses: list[str]) -> str:
    found = "" if addresses == [host] else f" ({', '.join(addresses)})"
    return f"{host}{found} is no public address, and none that HTTP_ALLOW_PRIVATE names."
