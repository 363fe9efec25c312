"""Callbacks that are refused: what can't, or may not, be called."""

import re
from typing import Any

import pytest

from tests.support.callbacks import QUICK, delivered
from tests.support.processes import Process, Service, service
from tests.support.receiver import Receiver


async def test_a_private_name_is_refused_when_it_is_called(
    database_url: str, redis_url: str, receiver: Receiver
) -> None:
    """And a private address when it is posted; both say what would allow it."""
    settings = QUICK | {"http_allow_private": ""}
    async with service(database_url, redis_url, **settings) as taskmill:
        await taskmill.start_consumer()
        task = await taskmill.create("x", callback_url=f"http://localhost:{receiver.port}/")
        delivery = await delivered(taskmill, f"/task/{task['id']}", "failed")
        assert "HTTP_ALLOW_PRIVATE" in delivery["tries"][0]["error"]
        for url in (
            receiver.url,
            f"http://[::ffff:7f00:1]:{receiver.port}/",
            "http://169.254.169.254/",
            "http://[::1]/",
        ):
            answer = await taskmill.client.post("/task", json={"content": 1, "callback_url": url})
            _is_refused(answer, ["/callback_url"])
            assert "HTTP_ALLOW_PRIVATE" in answer.text
    assert not receiver.heard


async def test_without_secrets_there_are_no_callbacks(database_url: str, redis_url: str) -> None:
    """It is refused, and said what is missing; a secret that is none stops the start."""
    async with service(database_url, redis_url) as taskmill:
        url = "https://example.com/"
        answer = await taskmill.client.post("/task", json={"content": 1, "callback_url": url})
        _is_refused(answer, ["/callback_url"])
        assert "CALLBACK_SECRETS is not set" in answer.text
        body = {"tasks": [{"content": 1}, {"content": 1, "callback_url": url}], "then": {"callback_url": url}}
        answer = await taskmill.client.post("/group", json=body)
        _is_refused(answer, ["/tasks/1/callback_url", "/then/callback_url"])
        answer = await taskmill.client.post("/group", json={"tasks": [{"content": 1}], "callback_url": url})
        _is_refused(answer, ["/callback_url"])
        assert (await taskmill.client.post("/task", json={"content": 1, "callback_url": None})).status_code == 201
    consumer = Process(["-m", "app.consumer"], taskmill.env | {"CALLBACK_SECRETS": "hunter2"})
    try:
        assert await consumer.exit_code() == 2
        assert re.fullmatch(r"taskmill: CALLBACK_SECRETS: must be whsec_ .+\n", consumer.output())
    finally:
        await consumer.kill()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "https://",
        "http:example.com",
        "https://user:S3CRET@example.com/",
        "https://example.com/#S3CRET",
        "https://example.com/#",
        "https://example.com/a b",
        "https://example.com/\r\nX: S3CRET",
        "https://example.com/\0",
        "https://exämple.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://10.0.0.1/",
        "http://127.0.0.1./",
        "http://[fe80::1%25eth0]/",
        "https://example.com/" + "a" * 1_981,
        1,
        True,
        ["https://example.com/"],
        {},
    ],
)
async def test_what_can_not_be_called_is_refused(live: Service, url: Any) -> None:
    """With the field that is wrong, and not what is in it; of a task, a member, a `then` and a group."""
    for path, body, pointer in (
        ("/task", {"content": 1, "callback_url": url}, "/callback_url"),
        ("/group", {"tasks": [{"content": 1, "callback_url": url}]}, "/tasks/0/callback_url"),
        ("/group", {"tasks": [{"content": 1}], "then": {"callback_url": url}}, "/then/callback_url"),
        ("/group", {"tasks": [{"content": 1}], "callback_url": url}, "/callback_url"),
    ):
        _is_refused(await live.client.post(path, json=body), [pointer])


async def test_what_can_be_called_is_taken(live: Service) -> None:
    """And shown as it was posted."""
    for url in ("https://example.com/" + "a" * 1_980, "HTTP://example.com", "http://8.8.8.8:65535/?a=%20&b=[]'"):
        assert (await live.create(1, callback_url=url))["callback_url"] == url


async def test_nobody_else_makes_deliveries(live: Service) -> None:
    """Not as a task, a member, a `then` or a schedule."""
    content = {"url": "https://example.com/", "webhook_id": "x", "body": {}}
    made = {"kind": "callback", "content": content}
    _is_refused(await live.client.post("/task", json=made), ["/kind"])
    _is_refused(await live.client.post("/group", json={"tasks": [made]}), ["/tasks/0/kind"])
    _is_refused(await live.client.post("/group", json={"tasks": [{"content": 1}], "then": made}), ["/then/kind"])
    _is_refused(await live.client.put("/schedule/x", json=made | {"cron": "* * * * *"}), ["/kind"])


def _is_refused(answer: Any, pointers: list[str]) -> None:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers
    assert "S3CRET" not in answer.text
