"""Idempotency-Key over HTTP: one thing made, however often and wherever it is asked for."""

import asyncio
import json
import signal
from typing import Any

import pytest

from tests.support.processes import Service, service
from tests.support.proxy import Proxy
from tests.support.refusals import MARKER, Refusals
from tests.support.types import Connection
from tests.support.waiting import until
from tests.support.wire import JSON, connect, request

BODIES: dict[str, Any] = {
    "/task": {"content": "hello", "delay_seconds": 3600},
    "/task/batch": [{"content": 1}, {"wrong": 1}, {"content": 2, "priority": "high"}],
    "/task/bulk": {"action": "cancel", "filter": {"kind": ["gone"]}, "dry_run": True},
    "/group": {"tasks": [{"content": 1}, {"content": 2}], "then": {}},
}
STATUS = {"/task": 201, "/task/batch": 207, "/task/bulk": 201, "/group": 201}

WRONG_KEYS = {
    "empty": ["Idempotency-Key:"],
    "spaces": ["Idempotency-Key:   "],
    "empty quotes": ['Idempotency-Key: ""'],
    "256 characters": ["Idempotency-Key: " + "S3CRET" * 42 + "1234"],
    "256 characters in quotes": ['Idempotency-Key: "' + "S3CRET" * 42 + '1234"'],
    "repeated": ["Idempotency-Key: S3CRET", "Idempotency-Key: S3CRET"],
    "repeated in another spelling": ["Idempotency-Key: S3CRET", 'idempotency-KEY: "S3CRET"'],
    "a tab": ["Idempotency-Key: S3CRET\tb"],
    "a tab in quotes": ['Idempotency-Key: "S3CRET\tb"'],
    "no ASCII": ["Idempotency-Key: S3CRET\xe9"],
    "no end": ['Idempotency-Key: "S3CRET'],
    "a quote within": ['Idempotency-Key: "S3CRET"b"'],
    "a wrong escape": ['Idempotency-Key: "S3CRET\\n"'],
    "parameters": ['Idempotency-Key: "S3CRET";a=1'],
    "two strings": ['Idempotency-Key: "S3CRET", "b"'],
}


async def counts(sql: Connection) -> tuple[int, int, int]:
    """Tasks, groups and keys."""
    tables = ("tasks", "groups", "idempotency_keys")
    tasks, groups, keys = [await sql.fetchval(f"SELECT count(*) FROM {table}") for table in tables]
    return tasks, groups, keys


async def test_200_posts_of_one_key_over_two_processes_make_one(live: Service, live_sql: Connection) -> None:
    """For each call: 200 equal answers at once, 199 of which say that they are repeated."""
    async with service(live.env["DATABASE_URL"], live.env["REDIS_URL"]) as other:
        for path, made in (("/task", (1, 0)), ("/task/batch", (2, 0)), ("/group", (2, 1))):
            before = await counts(live_sql)
            answers = await asyncio.gather(
                *(
                    each.client.post(path, json=BODIES[path], headers={"Idempotency-Key": '"200"'}, timeout=30)
                    for _ in range(100)
                    for each in (live, other)
                )
            )
            assert {answer.status_code for answer in answers} == {STATUS[path]}
            assert len({answer.content for answer in answers}) == 1
            replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
            assert (replayed.count(None), replayed.count("true")) == (1, 199)
            after = await counts(live_sql)
            assert [b - a for a, b in zip(before, after, strict=True)] == [*made, 1]


@pytest.mark.parametrize("path", BODIES)
async def test_an_api_killed_between_commit_and_answer(
    database_url: str, redis_url: str, database_proxy: Proxy, sql: Connection, path: str
) -> None:
    """The COMMIT is done, its answer is held back, and the process is killed: the key answers from another one."""
    mark, headers = f"KILLED{path}", {"Idempotency-Key": "1"}
    text = json.dumps(BODIES[path]).replace('"content": 1', f'"content": "{mark}"')
    body = json.loads(text.replace("hello", mark).replace("gone", mark))

    def hold_the_answer(data: bytes) -> bool:
        if mark.encode() in data:
            database_proxy.freeze()
        return False

    async with service(database_proxy.url, redis_url) as first, service(database_url, redis_url) as second:
        await first.create("warm")
        database_proxy.cut_reply_to(hold_the_answer)
        posting = asyncio.create_task(first.client.post(path, json=body, headers=headers))
        await until(lambda: sql.fetchval("SELECT count(*) FROM idempotency_keys"))
        first.processes[0].signal(signal.SIGKILL)
        await first.processes[0].exit_code()
        database_proxy.thaw()
        assert isinstance((await asyncio.gather(posting, return_exceptions=True))[0], Exception)
        before = await counts(sql)
        again = await second.client.post(path, json=body, headers=headers)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (STATUS[path], "true")
        assert await counts(sql) == before
        made = again.json()
        ids = made.get("task_ids") or [item["task"]["id"] for item in made.get("items", []) if "task" in item]
        for task_id in ids or [made["id"]]:
            await second.get(task_id)


@pytest.mark.parametrize("path", BODIES)
async def test_another_body_is_422_and_errors_are_not_remembered(refusals: Refusals, live: Service, path: str) -> None:
    """A key whose request was refused is as new; once something was made, it is taken."""
    key = {"Idempotency-Key": "k1"}
    for wrong in ({"wrong": 1}, 17):
        assert (await live.client.post(path, json=wrong, headers=key)).status_code == 422
    made = await live.client.post(path, json=BODIES[path], headers=key)
    assert (made.status_code, made.headers.get("idempotent-replayed")) == (STATUS[path], None)
    again = await live.client.post(path, json=BODIES[path], headers={"Idempotency-Key": '"k1"'})  # the same key, quoted
    assert (again.content, again.headers["idempotent-replayed"]) == (made.content, "true")
    other: dict[str, Any] = {
        "/task": {"content": MARKER},
        "/task/batch": [{"content": MARKER}],
        "/task/bulk": {"action": "cancel", "filter": {"kind": [MARKER]}},
        "/group": {"tasks": [{"content": MARKER}]},
    }
    body = json.dumps(other[path]).encode()
    await refusals.refuse(request("POST", path, JSON, "Idempotency-Key: k1", body=body), 422)


async def test_the_answer_stays_when_the_task_has_changed(live: Service, live_sql: Connection) -> None:
    """Canceled or deleted: it is what it was, byte by byte."""
    headers = {"Idempotency-Key": "changed"}
    body = {"content": {"a": [1.5, "ä", None]}, "kind": "simulate", "run_at": "2030-01-01T12:00:00+02:00"}
    first = await live.client.post("/task", json=body, headers=headers)
    assert (await live.client.patch(f"/task/{first.json()['id']}/cancel")).status_code == 200
    assert (await live.client.post("/task", json=body, headers=headers)).content == first.content
    await live_sql.execute("DELETE FROM tasks WHERE id = $1", first.json()["id"])
    assert (await live.client.post("/task", json=body, headers=headers)).content == first.content


@pytest.mark.parametrize("path", [*BODIES, "lines"])
@pytest.mark.parametrize("headers", WRONG_KEYS.values(), ids=WRONG_KEYS)
async def test_what_is_no_key_is_400(refusals: Refusals, path: str, headers: list[str]) -> None:
    """And nothing is made."""
    body = b'{"content": "S3CRET"}' if path == "lines" else json.dumps(BODIES[path]).encode()
    media_type = "Content-Type: application/x-ndjson" if path == "lines" else JSON
    call = "/task/batch" if path == "lines" else path
    await refusals.refuse(request("POST", call, media_type, *headers, body=body), 400)


@pytest.mark.parametrize("header", ["Idempotency-Key: a\0b", "Idempotency-Key: a\x01b", "Idempotency-Key: a\r\n b"])
async def test_no_control_character_gets_in(refusals: Refusals, header: str) -> None:
    """The server itself answers 400 to what is not HTTP, as it does to line breaks within a header."""
    before = await refusals.rows()
    async with connect(refusals.url) as wire:
        answer = await wire.ask(request("POST", "/task", JSON, header, body=b'{"content": 1}'))
        assert answer.status == 400
    assert await refusals.rows() == before


@pytest.mark.parametrize("key", ["a" * 255, '"' + "b" * 255 + '"', '"' + '\\"' * 255 + '"', "a b, c;d", "x"])
async def test_what_is_a_key(live: Service, key: str) -> None:
    """Up to 255 characters, in quotes or not."""
    headers = {"Idempotency-Key": key}
    first, again = [await live.client.post("/task", json={"content": 1}, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
