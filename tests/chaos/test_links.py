"""Links fail as they are told to, and nothing that was sent is lost or reordered by their being healed."""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.chaos.links import Link
from tests.chaos.users import at_work_again, users_of
from tests.support.proxy import Upstream
from tests.support.waiting import until

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo(asyncio.Protocol):
    """A server that answers with what it has heard."""

    heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read."""
        self.heard += data
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.write(data)


class Ends:
    """A link to echoes, and connections by way of it."""

    def __init__(self) -> None:
        self.echoes: list[Echo] = []
        self.wires: list[Wire] = []
        self.link = Link("test", Upstream(None, "", 0))

    def echo(self) -> Echo:
        """For one connection."""
        self.echoes.append(Echo())
        return self.echoes[-1]

    async def connect(self) -> Wire:
        """Connect."""
        self.wires.append(await asyncio.open_connection("127.0.0.1", self.link.port))
        return self.wires[-1]

    @property
    def heard(self) -> list[bytes]:
        """Of each connection."""
        return [echo.heard for echo in self.echoes]


@asynccontextmanager
async def linked() -> AsyncIterator[Ends]:
    """A link to an echo."""
    ends = Ends()
    async with await asyncio.get_running_loop().create_server(ends.echo, "127.0.0.1", 0) as server:
        ends.link.upstream = Upstream(None, "127.0.0.1", server.sockets[0].getsockname()[1])
        await ends.link.start()
        yield ends
        for _, writer in ends.wires:
            writer.close()
        await until(_is_empty(ends.link))
        ends.link.stop()


async def ask(wire: Wire, line: bytes) -> bytes:
    """Send a line; the answer, nothing where the connection broke."""
    wire[1].write(line)
    try:
        return await wire[0].readline()
    except ConnectionResetError:
        return b""


async def test_a_whole_link_passes_everything_on() -> None:
    """Much of it, both ways, unchanged."""
    async with linked() as ends:
        wire = await ends.connect()
        line = os.urandom(3_000).hex().encode() + b"\n"
        for _ in range(200):
            assert await ask(wire, line) == line


async def test_a_cut_reply_has_arrived_as_a_request() -> None:
    """The server has heard it, the client has no answer, and only that connection is broken."""
    async with linked() as ends:
        broken, whole = await ends.connect(), await ends.connect()
        assert await ask(whole, b"1\n") == b"1\n"
        ends.link.cut_replies(1)
        assert await ask(broken, b"2\n") == b""
        assert sorted(ends.heard) == [b"1\n", b"2\n"]
        assert await ask(whole, b"3\n") == b"3\n"
        assert ends.link.harmed == 1


async def test_a_black_hole_takes_all_and_gives_nothing() -> None:
    """Old and new connections hang; when it is healed, all goes on in order."""
    async with linked() as ends:
        old = await ends.connect()
        assert await ask(old, b"1\n") == b"1\n"
        ends.link.black_hole()
        new = await ends.connect()
        answers = [asyncio.create_task(ask(old, b"2\n")), asyncio.create_task(ask(new, b"3\n"))]
        assert not (await asyncio.wait(answers, timeout=0.3))[0]
        assert ends.heard == [b"1\n"]
        ends.link.heal()
        assert ends.link.harmed == 2
        assert await asyncio.gather(*answers) == [b"2\n", b"3\n"]


async def test_a_black_hole_over_a_silent_connection_harms_nobody() -> None:
    """It does not count, then."""
    async with linked() as ends:
        assert await ask(await ends.connect(), b"1\n") == b"1\n"
        ends.link.black_hole()
        await asyncio.sleep(0.1)
        ends.link.heal()
        assert ends.link.harmed == 0


async def test_a_slow_link_takes_its_time_each_way() -> None:
    """And keeps the order, also with what comes after it is healed."""
    async with linked() as ends:
        wire = await ends.connect()
        assert await ask(wire, b"1\n") == b"1\n"
        ends.link.slow(0.2)
        begun = time.monotonic()
        assert await ask(wire, b"2\n") == b"2\n"
        assert 0.4 <= time.monotonic() - begun < 2
        assert ends.link.harmed == 2
        wire[1].write(b"3\n")
        await asyncio.sleep(0.05)
        ends.link.heal()
        assert await ask(wire, b"4\n") == b"3\n"
        assert await wire[0].readline() == b"4\n"
        assert ends.heard == [b"1\n2\n3\n4\n"]


@pytest.mark.parametrize("fail", [Link.black_hole, lambda link: link.slow(60)])
async def test_who_uses_a_link_is_seen_at_work_again(fail: Callable[[Link], None]) -> None:
    """By the answer to what it asks after the healing; an earlier answer that was held back says nothing."""
    async with linked() as ends:
        wire = await ends.connect()
        assert await ask(wire, b"1\n") == b"1\n"
        me = {os.getpid()}
        assert await users_of(ends.link) == me
        fail(ends.link)
        wire[1].write(b"2\n")
        assert (await at_work_again(ends.link, me, time.monotonic(), 0.2))[1] == me
        ends.link.heal()
        assert await wire[0].readline() == b"2\n"
        healed = time.monotonic()
        assert (await at_work_again(ends.link, me, healed, 0.2))[1] == me
        assert await ask(wire, b"3\n") == b"3\n"
        assert (await at_work_again(ends.link, me, healed, 1))[1] == set()


async def test_who_uses_another_server_from_the_same_port_uses_no_link() -> None:
    """Linux gives a local port to several connections at once, if they go to different servers."""
    with socket.create_server(("127.0.0.1", 0)) as other, _from("127.0.0.1", 0) as elsewhere:
        elsewhere.connect(other.getsockname())
        cat = partial(subprocess.Popen, ["cat"], stdin=subprocess.PIPE)
        with cat(pass_fds=[elsewhere.fileno()]) as stranger:
            async with linked() as ends:
                ours = _from(*elsewhere.getsockname())
                ours.connect(("127.0.0.1", ends.link.port))
                ends.wires.append(await asyncio.open_connection(sock=ours))
                assert await ask(ends.wires[0], b"1\n") == b"1\n"
                elsewhere.close()
                users = await users_of(ends.link)
                assert stranger.poll() is None
            stranger.communicate()
    assert users == {os.getpid()}


def _from(host: str, port: int) -> socket.socket:
    """A socket that shares its local port with whoever shares it too."""
    sharing = socket.socket()
    sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sharing.bind((host, port))
    return sharing


def _is_empty(link: Link) -> Callable[[], Awaitable[object]]:
    async def fact() -> bool:
        """The link has no connections."""
        return not link.pipes

    return fact
