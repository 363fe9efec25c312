"""TCP links between the parts of the service, that fail as networks do.

Raw protocols and no parsing, so that a link costs next to nothing while it is whole.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.support.proxy import Upstream, upstream_of

NAMES = ("client-api", "api-postgres", "api-redis", "consumer-postgres", "consumer-redis")


class Link:
    """Passes bytes both ways until told to fail. It listens on one port of 127.0.0.1 for as long as it lives."""

    def __init__(self, name: str, upstream: Upstream) -> None:
        self.name = name
        self.upstream = upstream  # may be aimed elsewhere at any time: it counts for new connections
        self.port = 0
        self.pipes: set[Pipe] = set()
        self.is_hole = False
        self.delay = 0.0  # seconds each way
        self.cuts_left = 0
        self.replies_cut = 0
        self._server: asyncio.Server | None = None
        self.connecting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Pipe(self).front, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
        self.break_all()

    def cut_replies(self, times: int = 1_000_000_000) -> None:
        """Let requests pass, drop what is answered, and break that connection: so many times, or until healed."""
        self.cuts_left = times

    def black_hole(self) -> None:
        """Accept everything, connections included, and pass on nothing, not even that one side has gone."""
        self.is_hole = True
        for pipe in self.pipes:
            pipe.hold()

    def slow(self, seconds: float) -> None:
        """Every byte takes so long, each way."""
        self.delay = seconds

    def heal(self) -> None:
        """Be whole again. What a black hole or a slow link has held back goes on at once, as if sent again by TCP."""
        self.cuts_left, self.delay, self.is_hole = 0, 0.0, False
        for pipe in list(self.pipes):
            pipe.release()

    def break_all(self) -> None:
        """Break every connection there is; new ones are taken."""
        for pipe in list(self.pipes):
            pipe.abort()


class Pipe:
    """One connection, and its other half to the server behind the link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.front = _Half(self)
        self.back = _Half(self)
        self.front.peer, self.back.peer = self.back, self.front
        self.answered_at = 0.0  # monotonic: when the last answer was passed on

    @property
    def client_port(self) -> int:
        """The port of whoever has connected; 0 when it is known no more."""
        name = self.front.transport and self.front.transport.get_extra_info("peername")
        return int(name[1]) if name else 0

    def opened(self, half: "_Half") -> None:
        """A half is connected: the front first, which makes the back connect, unless in a black hole."""
        if half is self.front:
            self.link.pipes.add(self)
            self.front.pause()
            if not self.link.is_hole:
                self._connect()
        else:
            self.release()

    def hold(self) -> None:
        """Read no more."""
        self.front.pause()
        self.back.pause()

    def release(self) -> None:
        """Go on."""
        if self.link.is_hole:
            return
        if self.back.transport is None:
            self._connect()
            return
        for half in (self.front, self.back):
            half.flush(everything=True)
            half.resume()

    def got(self, half: "_Half", data: bytes) -> None:
        """Bytes came out of a half, for the other."""
        if half is self.back:
            if self.link.cuts_left > 0:
                self.link.cuts_left -= 1
                self.link.replies_cut += 1
                self.abort()
                return
            self.answered_at = time.monotonic()
        half.peer.send(data, self.link.delay)

    def abort(self) -> None:
        """Break both halves."""
        self.link.pipes.discard(self)
        for half in (self.front, self.back):
            half.queue.clear()
            if half.transport is not None:
                half.transport.abort()

    def _connect(self) -> None:
        if self._is_connecting:
            return
        self._is_connecting = True
        task = asyncio.get_running_loop().create_task(self._connect_back())
        self.link.connecting.add(task)
        task.add_done_callback(self.link.connecting.discard)

    _is_connecting = False

    async def _connect_back(self) -> None:
        loop, upstream = asyncio.get_running_loop(), self.link.upstream
        try:
            if upstream.socket:
                await loop.create_unix_connection(lambda: self.back, upstream.socket)
            else:
                await loop.create_connection(lambda: self.back, upstream.host, upstream.port)
        except OSError:
            self.abort()


class _Half(asyncio.Protocol):
    """The side of a pipe that the client sees (front), or the server (back)."""

    peer: "_Half"

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.transport: asyncio.Transport | None = None
        self.queue: deque[tuple[float, bytes | None]] = deque()  # (when due by the loop's time, bytes; None is the end)
        self._is_full = False  # our own buffer to the network, so that the peer must not read on

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pipe.opened(self)

    def data_received(self, data: bytes) -> None:
        self.pipe.got(self, data)

    def eof_received(self) -> bool:
        self.peer.send(None, self.pipe.link.delay)
        return True  # the other direction may still have something to say

    def connection_lost(self, _: Exception | None) -> None:
        self.peer.send(None, self.pipe.link.delay)
        if self.peer.transport is None or self.peer.transport.is_closing():
            self.pipe.link.pipes.discard(self.pipe)

    def pause_writing(self) -> None:
        self._is_full = True
        self.peer.pause()

    def resume_writing(self) -> None:
        self._is_full = False
        self.peer.resume()

    def send(self, data: bytes | None, delay: float) -> None:
        """Write to the network on this side, after `delay` and after all that came before."""
        if not delay and not self.queue:
            self._write(data)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        self.queue.append((due, data))
        loop.call_at(due, self.flush)

    def flush(self, *, everything: bool = False) -> None:
        """Write what is due."""
        now = asyncio.get_running_loop().time() + 0.001
        while self.queue and (everything or (self.queue[0][0] <= now and not self.pipe.link.is_hole)):
            self._write(self.queue.popleft()[1])

    def pause(self) -> None:
        """Read no more."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on, unless a black hole or a full buffer forbids it."""
        if self.transport is None or self.transport.is_closing() or self.pipe.link.is_hole or self.peer._is_full:
            return
        if self.peer.transport is not None:
            self.transport.resume_reading()

    def _write(self, data: bytes | None) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if data is None:
            self.transport.close()
        else:
            self.transport.write(data)


@asynccontextmanager
async def linked(database_url: str, redis_url: str) -> AsyncIterator[dict[str, Link]]:
    """All links. That of the clients leads nowhere until it is aimed at the API."""
    upstreams = {"postgres": upstream_of(database_url), "redis": upstream_of(redis_url), "api": Upstream(None, "", 0)}
    links = {name: Link(name, upstreams[name.partition("-")[2]]) for name in NAMES}
    for link in links.values():
        await link.start()
    try:
        yield links
    finally:
        for link in links.values():
            link.stop()


def through(link: Link, url: str) -> str:
    """The address of this server, by way of the link."""
    parts = urlsplit(url)
    if parts.scheme in {"unix", "redis"}:
        return f"redis://127.0.0.1:{link.port}/0"
    user = f"{parts.username}@" if parts.username else ""
    return f"{parts.scheme}://{user}127.0.0.1:{link.port}{parts.path}"
