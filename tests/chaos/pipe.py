"""One connection over a link: two halves, and what each may pass on to the other at the moment."""

import asyncio
import fcntl
import sys
import termios
import time
from collections import deque
from typing import Protocol, cast

from tests.support.proxy import Upstream


class Way(Protocol):
    """What pipes know of their link."""

    upstream: Upstream
    pipes: "set[Pipe]"
    connecting: "set[asyncio.Task[None]]"
    is_hole: bool
    delay: float
    cuts_left: int
    harmed: int


class Pipe:
    """One connection, and its other half to the server behind the link."""

    def __init__(self, link: Way) -> None:
        self.link = link
        self.front = Half(self)
        self.back = Half(self)
        self.front.peer, self.back.peer = self.back, self.front
        self.asked_at = 0.0  # monotonic: when the client has last sent something
        self.answered_at = 0.0  # the same, of the last that was answered to a client that was still there
        self.owners: set[int] = set()  # processes of the client's end, as far as somebody has asked (users.py)
        self._is_connecting = False

    @property
    def client_port(self) -> int:
        """The port of whoever has connected; 0 when it is known no more."""
        name = self.front.transport and self.front.transport.get_extra_info("peername")
        return int(name[1]) if name else 0

    @property
    def is_held(self) -> bool:
        """Whether there is something that either side has sent and the other has not got, a connection included."""
        return self.back.transport is None or any(half.queue or half.unread for half in (self.front, self.back))

    def opened(self, half: "Half") -> None:
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

    def got(self, half: "Half", data: bytes) -> None:
        """Bytes came out of a half, for the other."""
        if half is self.back:
            if self.link.cuts_left > 0:
                self.link.cuts_left -= 1
                self.link.harmed += 1
                self.abort()
                return
            if not self.front.has_ended:
                self.answered_at = self.asked_at
        else:
            self.asked_at = time.monotonic()
        self.link.harmed += self.link.delay > 0
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

    async def _connect_back(self) -> None:
        loop, upstream = asyncio.get_running_loop(), self.link.upstream
        try:
            if upstream.socket:
                await loop.create_unix_connection(lambda: self.back, upstream.socket)
            else:
                await loop.create_connection(lambda: self.back, upstream.host, upstream.port)
        except OSError:
            self.abort()


class Half(asyncio.Protocol):
    """The side of a pipe that the client sees (front), or the server (back)."""

    peer: "Half"

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.transport: asyncio.Transport | None = None
        self.queue: deque[tuple[float, bytes | None]] = deque()  # (when due by the loop's time, bytes; None is the end)
        self.has_ended = False
        self._is_full = False  # our own buffer to the network, so that the peer must not read on

    @property
    def unread(self) -> int:
        """Bytes that have come in on this side and were not read."""
        if self.transport is None or self.transport.is_closing():
            return 0
        waiting = bytearray(4)
        fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.FIONREAD, waiting)
        return int.from_bytes(waiting, sys.byteorder)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        self.pipe.opened(self)

    def data_received(self, data: bytes) -> None:
        """Read."""
        self.pipe.got(self, data)

    def eof_received(self) -> bool:
        """This side says no more."""
        self.has_ended = True
        self.peer.send(None, self.pipe.link.delay)
        return True  # the other direction may still have something to say

    def connection_lost(self, _: Exception | None) -> None:
        """This side has gone."""
        self.has_ended = True
        self.peer.send(None, self.pipe.link.delay)
        if self.peer.transport is None or self.peer.transport.is_closing():
            self.pipe.link.pipes.discard(self.pipe)

    def pause_writing(self) -> None:
        """This side reads more slowly than the other one writes."""
        self._is_full = True
        self.peer.pause()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_full = False
        self.peer.resume()

    def send(self, data: bytes | None, delay: float) -> None:
        """Write to the network on this side, after `delay` and after all that came before.

        A black hole keeps it, and so does a server that is not connected yet: a pause of reading may come too late.
        """
        is_kept = self.transport is None or self.pipe.link.is_hole
        if not (delay or self.queue or is_kept):
            self._write(data)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        self.queue.append((due, data))
        if not is_kept:
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
