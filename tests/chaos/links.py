"""TCP links between the parts of the service, that fail as networks do.

Raw protocols and no parsing, so that a link costs next to nothing while it is whole.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.chaos.pipe import Pipe
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
        self.harmed = 0  # replies cut; pieces that were slow; connections on which a black hole held something back
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
        if self.is_hole:
            self.harmed += sum(pipe.is_held for pipe in self.pipes)
        self.cuts_left, self.delay, self.is_hole = 0, 0.0, False
        for pipe in list(self.pipes):
            pipe.release()

    def break_all(self) -> None:
        """Break every connection there is; new ones are taken."""
        for pipe in list(self.pipes):
            pipe.abort()


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
