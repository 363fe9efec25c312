"""Tasks of kind `http`: over the API, by a real consumer, to a real service."""

import asyncio
import base64
import re
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.processes import ROOT, Process, Service, service
from tests.support.receiver import Receiver, answering

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
QUICK = {"poll_seconds": 0.1, "http_allow_private": "127.0.0.1/32", "http_signing_secret": SECRET}


async def _create(taskmill: Service, content: dict[str, Any], **fields: Any) -> str:
    return str((await taskmill.create(content, kind="http", **fields))["id"])


async def test_a_service_is_a_worker(database_url: str, redis_url: str, receiver: Receiver) -> None:
    """It is called with the body, signed and in the caller's trace; its answer is the task's result."""
    receiver.answer = answering(text='{"total": 3}', content_type="application/json")
    async with service(database_url, redis_url, **QUICK) as taskmill:
        await taskmill.start_consumer()
        trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
        content = {"url": receiver.url, "body": {"order": [1, 1.5, "é"]}, "headers": {"X-Shop": "17"}}
        created = await taskmill.client.post(
            "/task", json={"kind": "http", "content": content}, headers={"traceparent": trace}
        )
        task_id = created.json()["id"]
        await taskmill.reaches(task_id, "completed")
        task = await taskmill.get(task_id)
    assert task["result"] == {
        "status": 200,
        "headers": {"content-type": "application/json; charset=utf-8"},
        "body": '{"total": 3}',
        "is_base64": False,
        "truncated": False,
    }
    (heard,) = receiver.heard
    assert (heard.method, heard.target) == ("POST", "/hook")
    assert Webhook(SECRET).verify(heard.body, dict(heard.headers)) == content["body"]
    assert heard.headers["Idempotency-Key"] == heard.headers["webhook-id"] == task_id
    assert heard.headers["traceparent"].startswith(trace[:36])
    assert heard.headers["X-Shop"] == "17"


async def test_it_is_called_again_when_it_says_so(database_url: str, redis_url: str, receiver: Receiver) -> None:
    """Not before Retry-After, with the same Idempotency-Key and body; then the task completes."""
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def answer(_: web.Request) -> web.Response:
        times.append(loop.time())
        is_first = len(times) == 1
        return web.Response(status=429 if is_first else 204, headers={"Retry-After": "2"} if is_first else {})

    receiver.answer = answer
    async with service(database_url, redis_url, **QUICK) as taskmill:
        await taskmill.start_consumer()
        task_id = await _create(taskmill, {"url": receiver.url, "body": "again"})
        await taskmill.reaches(task_id, "completed")
        task = await taskmill.get(task_id)
    assert 2 <= times[1] - times[0] < 4
    assert {(heard.headers["Idempotency-Key"], heard.body) for heard in receiver.heard} == {(task_id, b'"again"')}
    assert (task["attempt"], task["result"]["status"]) == (2, 204)
    assert [(error["code"], "429" in error["message"]) for error in task["history"]] == [
        ("dependency_unavailable", True)
    ]


@pytest.mark.parametrize(
    ("status", "code"), [(503, "dependency_unavailable"), (404, "handler_error"), (302, "handler_error")]
)
async def test_a_task_fails_with_the_status(
    database_url: str, redis_url: str, receiver: Receiver, status: int, code: str
) -> None:
    """At once, or when its attempts are used up."""
    receiver.answer = answering(status, text="because", headers={"Location": "http://169.254.169.254/"})
    async with service(database_url, redis_url, **QUICK) as taskmill:
        await taskmill.start_consumer()
        task_id = await _create(taskmill, {"url": receiver.url}, max_attempts=1)
        await taskmill.reaches(task_id, "failed")
        error = (await taskmill.get(task_id))["error"]
    assert error["code"] == code
    assert str(status) in error["message"]
    assert "because" in error["message"]
    assert len(receiver.heard) == 1


async def test_private_addresses_are_refused_by_default(database_url: str, redis_url: str, receiver: Receiver) -> None:
    """By whatever name; the task fails at its first attempt and says what would allow it."""
    urls = [f"http://{host}:{receiver.port}/" for host in ("127.0.0.1", "localhost", "[::ffff:7f00:1]")]
    async with service(database_url, redis_url, poll_seconds=0.1) as taskmill:
        await taskmill.start_consumer()
        for url in urls:
            task_id = await _create(taskmill, {"url": url})
            await taskmill.reaches(task_id, "failed")
            task = await taskmill.get(task_id)
            assert task["attempt"] == 1
            assert "HTTP_ALLOW_PRIVATE" in task["error"]["message"]
    assert not receiver.heard


async def test_a_service_that_hangs_is_given_up(database_url: str, redis_url: str, receiver: Receiver) -> None:
    """After the task's timeout; its slot is free then."""

    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answer = answer
    async with service(database_url, redis_url, **QUICK, consumer_concurrency=1) as taskmill:
        await taskmill.start_consumer()
        task_id = await _create(taskmill, {"url": receiver.url}, timeout_seconds=0.3, max_attempts=1)
        await taskmill.reaches(task_id, "failed")
        assert (await taskmill.get(task_id))["error"]["code"] == "timeout"
        receiver.answer = answering()
        await taskmill.reaches(await _create(taskmill, {"url": receiver.url}), "completed")


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        ({"url": "http://127.1/"}, "/content/url"),
        ({"url": "ftp://a/"}, "/content/url"),
        ({"url": "http://u:S3CRET@a/"}, "/content/url"),
        ({}, "/content/url"),
        ("http://a/", "/content"),
        ({"url": "http://a/", "method": "CONNECT"}, "/content/method"),
        ({"url": "http://a/", "headers": {"Host": "S3CRET"}}, "/content/headers/Host"),
        ({"url": "http://a/", "headers": {"X-A": "S3CRET\r\nX-B: c"}}, "/content/headers/X-A"),
        ({"url": "http://a/", "method": "GET", "body": "S3CRET"}, "/content/body"),
    ],
)
async def test_what_can_not_be_sent_is_refused_when_posted(live: Service, content: Any, pointer: str) -> None:
    """With the field that is wrong, and not what is in it."""
    answer = await live.client.post("/task", json={"kind": "http", "content": content})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert "S3CRET" not in answer.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_ALLOW_PRIVATE", "10.0.0.1/8"),
        ("HTTP_ALLOW_PRIVATE", "localhost"),
        ("HTTP_SIGNING_SECRET", "hunter2"),
        ("HTTP_SIGNING_SECRET", f"{SECRET},whsec_hunter2"),
    ],
)
async def test_a_wrong_setting_stops_the_start(database_url: str, redis_url: str, name: str, value: str) -> None:
    """With one line that names it, and no secret."""
    env = Service(database_url, redis_url, **{name: value}).env
    consumer = Process(["-m", "app.consumer"], env)
    try:
        assert await consumer.exit_code() == 2
        assert re.fullmatch(rf"taskmill: {name}: .+\n", consumer.output())
        assert "hunter2" not in consumer.output()
        assert SECRET not in consumer.output()
    finally:
        await consumer.kill()


async def test_the_documented_verification_verifies(database_url: str, redis_url: str, receiver: Receiver) -> None:
    """As docs/http-kind.md has it: what was sent passes, and what was changed does not."""
    snippet = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "http-kind.md").read_text(), re.DOTALL)[0]
    documented: dict[str, Any] = {}
    exec(snippet, documented)  # noqa: S102 - it is our own
    async with service(database_url, redis_url, **QUICK) as taskmill:
        await taskmill.start_consumer()
        task_id = await _create(taskmill, {"url": receiver.url, "body": {"order": 17}})
        await taskmill.reaches(task_id, "completed")
    (heard,) = receiver.heard
    assert documented["verified"](heard.body, heard.headers, SECRET) == {"order": 17}
    with pytest.raises(WebhookVerificationError):
        documented["verified"](heard.body.replace(b"17", b"18"), heard.headers, SECRET)
