"""POST /task/batch as lines of JSON that are answered while they come."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.acceptance.test_batch import WRONG, assert_item_problem
from tests.support.processes import Service, service
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import until
from tests.support.wire import Wire, connect, request

NDJSON = "Content-Type: application/x-ndjson"
LIMIT = 1_048_576


class Lines:
    """A stream of lines, and of answers to them."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._rest = b""
        self.is_over = False

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        await self.wire.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """The body ends in order."""
        await self.wire.send(b"0\r\n\r\n")

    async def answers(self, count: int | None = None) -> list[dict[str, Any]]:
        """The next answers, or all until the end."""
        found: list[dict[str, Any]] = []
        while not self.is_over and (count is None or len(found) < count):
            *lines, self._rest = (self._rest + await self._chunk()).split(b"\n")
            found += [json.loads(line) for line in lines]
        assert count is None or len(found) == count
        return found

    async def _chunk(self) -> bytes:
        chunk = await self.wire.chunk()
        self.is_over = not chunk
        return chunk


@asynccontextmanager
async def stream(url: str, *headers: str) -> AsyncIterator[Lines]:
    """A request under way whose answer has not begun."""
    async with connect(url) as wire:
        await wire.send(request("POST", "/task/batch", NDJSON, "Transfer-Encoding: chunked", *headers))
        yield Lines(wire)


async def begun(lines: Lines) -> None:
    """The answer has begun, as an answer to lines."""
    head = await lines.wire.head()
    assert head.status == 200
    assert head.headers["content-type"] == "application/x-ndjson"
    assert head.headers["transfer-encoding"] == "chunked"


async def test_each_line_is_answered_while_more_are_sent(live: Service, live_sql: Connection) -> None:
    """By the task that is committed by then; the connection serves the next request."""
    async with stream(live.url) as lines:
        for number in range(3):
            await lines.send(b'{"content": %d}\n' % number)
            if not number:
                await begun(lines)
            (answer,) = await lines.answers(1)
            assert (answer["index"], answer["task"]["content"]) == (number, number)
            assert await live.get(answer["task"]["id"]) == answer["task"]
        await lines.send(b'{"content": 3}\n{"content": 4, "priority": "high"}\n{"content": 5}')
        await lines.end()
        assert [(a["index"], a["task"]["content"]) for a in await lines.answers()] == [(3, 3), (4, 4), (5, 5)]
        assert (await lines.wire.ask(request("GET", "/health"))).json() == {"status": "ok"}
    priorities = await live_sql.fetch("SELECT priority FROM tasks WHERE content::text = '4'")
    assert [row[0] for row in priorities] == [0]


async def test_lines_are_found_wherever_they_are_cut(live: Service) -> None:
    """Byte by byte, within characters and line ends; blank lines are no items, and the last one needs no end."""
    body = '\n{"content": "ä€😀"}\r\n \t\r\n\n{"content": "\u2028\u0085 x"}\n{"content": "last"}'.encode()
    async with stream(live.url) as lines:
        for byte in body:
            await lines.send(bytes([byte]))
        await begun(lines)
        await lines.end()
        answers = await lines.answers()
    assert [(a["index"], a["task"]["content"]) for a in answers] == [(0, "ä€😀"), (1, "\u2028\u0085 x"), (2, "last")]


@pytest.mark.parametrize("body", ["", "\n", " \r\n\n"])
async def test_no_lines_have_no_answers(live: Service, body: str) -> None:
    """An empty stream is one."""
    answer = await live.client.post("/task/batch", content=body, headers={"Content-Type": "application/x-ndjson"})
    assert (answer.status_code, answer.content) == (200, b"")


async def test_one_bad_line_spoils_only_itself(live: Service, live_sql: Connection) -> None:
    """What is no JSON, what is too long and what is wrong is answered in its place, and the next line is read."""
    before = await live_sql.fetchval("SELECT count(*) FROM tasks")
    bad: list[tuple[bytes, int, list[str]]] = [
        (b'{"content": 1', 400, []),
        (b'{"content": 1},{"content": 1}', 400, []),
        (b"S3CRET", 400, []),
        (b'\xef\xbb\xbf{"content": 1}', 400, []),
        (b'{"content": "\xff"}', 400, []),
        (b'{"content": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", 400, []),
        (b'{"content": "' + b"a" * (LIMIT - 14) + b'"}', 413, []),  # a byte over the limit
        (b'{"content": "' + b"a" * 3 * LIMIT + b'"}', 413, []),
        (b"[" * 10, 400, []),
        *((text.encode(), status, pointers) for text, status, pointers in WRONG.values()),
    ]
    async with stream(live.url) as lines:
        for line, _, _ in bad:
            await lines.send(line + b'\n{"content": 1}\n')
        await begun(lines)
        await lines.send(b'{"content": "' + b"a" * (LIMIT - 15) + b'"}')  # at the limit
        await lines.end()
        answers = await lines.answers()
    assert [answer["index"] for answer in answers] == list(range(2 * len(bad) + 1))
    for number, (line, status, pointers) in enumerate(bad):
        assert_item_problem(answers[2 * number], status, pointers, repr(line[:50]))
        assert answers[2 * number + 1]["task"]["content"] == 1
    assert len(answers[-1]["task"]["content"]) == LIMIT - 15
    assert "S3CRET" not in json.dumps(answers)
    assert await live_sql.fetchval("SELECT count(*) FROM tasks") - before == len(bad) + 1


async def test_what_came_before_the_client_went_is_kept(live: Service, live_sql: Connection) -> None:
    """Whole lines are; the one that was cut is not."""
    async with stream(live.url) as lines:
        await lines.send(b'{"content": "gone 1"}\n{"content": "gone 2"}\n{"content": "gone 3')
        await begun(lines)
        await lines.answers(2)
        await lines.send(b'"}\n{"content": "gone 4"}')  # as it stands a whole task, but not a whole line
        await lines.answers(1)
    await until(lambda: live_sql.fetchval("SELECT count(*) = 3 FROM tasks WHERE content::text LIKE '\"gone%'"))
    assert "Traceback" not in live.processes[0].output()
    assert (await live.client.get("/health")).status_code == 200


async def test_a_stream_that_broke_off_is_sent_again_from_its_start(live: Service, live_sql: Connection) -> None:
    """With the same Idempotency-Key: what is there is answered again, the rest is made, another body is an error."""
    key = 'Idempotency-Key: "stream"'
    sent = [b'{"content": "again %d"}\n' % number for number in range(2_500)]
    async with stream(live.url, key) as lines:
        await lines.send(b"".join(sent[:1_500]))
        await begun(lines)
        first = await lines.answers(1_500)
    async with stream(live.url, key) as lines:
        await lines.send(b"".join([*sent[:3], b'{"content": "another"}\n', *sent[4:]]))
        await begun(lines)
        await lines.end()
        second = await lines.answers()
    assert [answer["index"] for answer in second] == list(range(2_500))
    assert second[3]["error"]["status"] == 422
    for before, after in zip(first, second[:1_500], strict=True):
        if after["index"] != 3:
            assert after == before | {"replayed": True}
    assert not any("replayed" in answer for answer in [*first, *second[1_500:]])
    counted = "SELECT count(*) FROM tasks WHERE content::text LIKE '\"again%' OR content::text = '\"another\"'"
    assert await live_sql.fetchval(counted) == 2_500


async def test_nothing_is_read_while_postgresql_is_behind(live: Service, live_sql: Connection) -> None:
    """The sender of 100 MB has to wait, and memory does not grow; when the table is free, every line is answered."""
    line = b'{"content": "' + b"x" * 10_000 + b'"}\n'
    chunk = b"%x\r\n%b\r\n" % (len(line) * 100, line * 100)
    sent = 0

    async def send_all(lines: Lines) -> None:
        nonlocal sent
        for _ in range(100):
            await lines.wire.send(chunk)
            sent += len(chunk)
        await lines.end()

    async def stalls() -> bool:
        before = sent
        await asyncio.sleep(0.3)
        return before == sent > 0

    async with stream(live.url) as lines:
        async with live_sql.transaction():
            await live_sql.execute("LOCK TABLE tasks IN SHARE MODE")
            sending = asyncio.create_task(send_all(lines))
            await until(stalls, 2)
            assert sent < 25_000_000  # sockets have buffers
        await begun(lines)
        answers = await lines.answers()
        await sending
    assert [answer["index"] for answer in answers] == list(range(10_000))
    assert all("task" in answer for answer in answers)
    assert _peak_memory(live) < 250_000_000


async def test_without_postgresql_the_stream_ends_with_errors(
    redis_url: str, database_proxy: Proxy, sql: Connection
) -> None:
    """The lines that it concerns are answered so, and then it is over: nobody waits for what does not come.

    Sent again with its key, none is made twice.
    """
    async with service(database_proxy.url, redis_url) as api:
        async with stream(api.url, "Idempotency-Key: down") as lines:
            await lines.send(b'{"content": 1}\n')
            await begun(lines)
            assert "task" in (await lines.answers(1))[0]
            await database_proxy.stop()
            await lines.send(b'{"content": 2}\n{"wrong": 3}\n{"content": 4}\n')
            answers = await lines.answers()
        assert [(a["index"], a["error"]["status"]) for a in answers] == [(1, 500), (2, 422), (3, 500)]
        refused = await api.client.post("/task/batch", json=[{"content": 1}])
        assert (refused.status_code, refused.headers["retry-after"]) == (500, "2")
        await database_proxy.start()
        content = '{"content": 1}\n{"content": 2}\n{"wrong": 3}\n{"content": 4}\n'
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "down"}
        again = await api.client.post("/task/batch", content=content, headers=headers)
        items = [json.loads(line) for line in again.text.splitlines()]
        assert [item.get("replayed", False) for item in items] == [True, False, False, False]
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 3


async def test_a_commit_without_an_answer_makes_a_batch_once(
    redis_url: str, database_proxy: Proxy, sql: Connection
) -> None:
    """The statement commits and its answer is cut: the service sends it again, and finds its own tasks."""
    async with service(database_proxy.url, redis_url) as api:
        await api.create("warm")
        for headers, options in (({}, {}), ({"Idempotency-Key": "cut"}, {}), ({}, {"priority": "high"})):
            mark = f"CUT{len(headers)}{len(options)}"
            database_proxy.cut_reply_to(lambda data, mark=mark: mark.encode() in data)  # type: ignore[misc]
            cut = database_proxy.replies_cut
            answer = await api.client.post("/task/batch", json=[{"content": mark, **options}] * 3, headers=headers)
            assert database_proxy.replies_cut == cut + 1
            assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, False)
            rows = await sql.fetch("SELECT id::text FROM tasks WHERE content::text = $1 ORDER BY id", f'"{mark}"')
            tasks = [item["task"] for item in answer.json()["items"]]
            assert [task["id"] for task in tasks] == [row[0] for row in rows]
            assert all([await api.get(task["id"]) == task for task in tasks])


def _peak_memory(api: Service) -> int:
    """In bytes."""
    with open(f"/proc/{api.processes[0].pid}/status") as status:  # noqa: PTH123 - no file on a disk
        (line,) = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
