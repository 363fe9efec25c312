"""A TCP proxy in front of a real server, that can fail in the ways networks and servers do."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

# PostgreSQL's message Execute, of the unnamed portal and all of its rows: one a statement.
EXECUTE = b"E\0\0\0\x09\0\0\0\0\0"

_CHUNK = 65_536


@dataclass(frozen=True)
class Upstream:
    """Where a server listens."""

    socket: str | None
    host: str
    port: int

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        if self.socket:
            return await asyncio.open_unix_connection(self.socket)
        return await asyncio.open_connection(self.host, self.port)


def upstream_of(url: str) -> Upstream:
    """The server behind a DATABASE_URL or REDIS_URL."""
    parts = urlsplit(url)
    folder = parse_qs(parts.query).get("host", [""])[0]
    if folder.startswith("/"):
        port = parse_qs(parts.query).get("port", ["5432"])[0]
        return Upstream(f"{folder}/.s.PGSQL.{port}", "", 0)
    if parts.scheme == "unix":
        return Upstream(parts.path, "", 0)
    return Upstream(None, parts.hostname or "", parts.port or {"redis": 6379}.get(parts.scheme, 5432))


class Proxy:
    """Passes bytes both ways until told to fail."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._upstream = upstream_of(url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut_reply_to: Callable[[bytes], bool] | None = None
        self.replies_cut = 0
        self.requests: list[bytes] = []

    @property
    def url(self) -> str:
        """The address to use in place of the server's."""
        parts = self._parts
        if parts.scheme == "unix":
            return f"redis://127.0.0.1:{self._port}/0"
        user = (
            f"{parts.username}:{parts.password}@" if parts.password else f"{parts.username}@" if parts.username else ""
        )
        return f"{parts.scheme}://{user}127.0.0.1:{self._port}{parts.path}"

    async def start(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and break those there are, as a server that was stopped."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        self._flowing.set()
        await self._server.wait_closed()

    def freeze(self) -> None:
        """Accept everything and answer nothing, as a black hole."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let pass what was held back."""
        self._flowing.set()

    def cut_reply_to(self, matches: Callable[[bytes], bool]) -> None:
        """Let the next request that matches reach the server, drop the server's answer, and break the connection."""
        self._cut_reply_to = matches

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await self._upstream.connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        cut = asyncio.Event()
        try:
            await asyncio.gather(
                self._forward(reader, up_writer, cut, is_request=True),
                self._forward(up_reader, writer, cut, is_request=False),
            )
        finally:
            for each in (writer, up_writer):
                each.transport.abort()
                self._writers.discard(each)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event, *, is_request: bool
    ) -> None:
        try:
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                if is_request:
                    self.requests.append(data)
                    if self._cut_reply_to is not None and self._cut_reply_to(data):
                        self._cut_reply_to = None
                        cut.set()
                elif cut.is_set():
                    self.replies_cut += 1
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()
