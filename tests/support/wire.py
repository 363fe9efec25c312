"""HTTP/1.1 as bytes on a socket: for what no client library would send."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

ANSWER_SECONDS = 20.0
JSON: Final = "Content-Type: application/json"


@dataclass(frozen=True)
class Answer:
    """An answer; the names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def request(method: str, path: str, *headers: str, body: bytes | None = None) -> bytes:
    """A request; Content-Length is added where there is a body."""
    lines = [f"{method} {path} HTTP/1.1", *headers]
    if not any(header.lower().startswith("host:") for header in headers):
        lines.append("Host: taskmill")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes. Raises OSError where the server has closed the connection."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> Answer:
        """Read an answer that has a Content-Length."""
        head = await self.head()
        async with asyncio.timeout(ANSWER_SECONDS):
            body = await self._reader.readexactly(int(head.headers["content-length"]))
        return Answer(head.status, head.headers, body)

    async def head(self) -> Answer:
        """Read an answer as far as its body, which comes in chunks."""
        async with asyncio.timeout(ANSWER_SECONDS):
            status_line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines if line)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            return Answer(int(status_line.split()[1]), headers, b"")

    async def chunk(self) -> bytes:
        """Read a chunk of the body; the last one is empty."""
        async with asyncio.timeout(ANSWER_SECONDS):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            return (await self._reader.readexactly(size + 2))[:-2]

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        return await self._reader.read()

    async def ask(self, data: bytes) -> Answer:
        """Send a request and read its answer; an answer may come before the request is sent in full."""
        sending = asyncio.ensure_future(self.send(data))
        try:
            return await self.answer()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Wire]:
    """A connection to the server of this URL."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
