"""Callbacks: over the API, by real consumers, to a real receiver."""

import asyncio
import base64
import json
import re
import signal
import socket
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from standardwebhooks import Webhook
from uuid_utils.compat import uuid7

from tests.support.processes import ROOT, Process, Service, service
from tests.support.receiver import Heard, Receiver, answering
from tests.support.types import Connection
from tests.support.waiting import until

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 24).decode()
QUICK = {
    "poll_seconds": 0.2,
    "beat_seconds": 0.3,
    "lease_seconds": 1.2,
    "http_allow_private": "127.0.0.1/32",
    "callback_secrets": f"{SECRET},{OLD_SECRET}",
    "handler_modules": "tests.handlers.groups,tests.handlers.poison",
    "simulate_seconds": 0,
}


async def _deliveries(taskmill: Service, path: str) -> list[dict[str, Any]]:
    answer = await taskmill.client.get(f"{path}/deliveries")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["deliveries"])


async def _delivered(taskmill: Service, path: str, status: str = "delivered", seconds: float = 10) -> dict[str, Any]:
    """Wait until its newest delivery has this status."""

    async def fact() -> bool:
        found = await _deliveries(taskmill, path)
        return bool(found) and bool(found[0]["status"] == status)

    await until(fact, seconds)
    return (await _deliveries(taskmill, path))[0]


def _verified(heard: Heard, secret: str = SECRET) -> dict[str, Any]:
    """The message, of which the signature is right."""
    message = Webhook(secret).verify(heard.body, dict(heard.headers))
    assert heard.method == "POST"
    assert heard.headers["Content-Type"] == "application/json"
    return dict(message)


def _told(receiver: Receiver) -> dict[tuple[str, str], Heard]:
    """(type, id of what has ended) → what was heard, each once."""
    heard = {}
    for each in receiver.heard:
        message = _verified(each)
        key = message["type"], message["data"]["id"]
        assert key not in heard
        heard[key] = each
    return heard


async def test_each_end_is_told(database_url: str, redis_url: str, receiver: Receiver) -> None:
    """Of a task that completed, failed, was canceled (alone, with its group), and of a group and its `then`; signed."""
    url = receiver.url
    async with service(database_url, redis_url, **QUICK) as taskmill:
        await taskmill.start_consumer(consumer_concurrency=50)
        trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
        body = {"content": {"simulate_seconds": 0.1}, "callback_url": url}
        completed = (await taskmill.client.post("/task", json=body, headers={"traceparent": trace})).json()["id"]
        failing = {"kind": "step", "content": {"fails": True}, "max_attempts": 1, "callback_url": url}
        failed = (await taskmill.client.post("/task", json=failing)).json()["id"]
        slow = {"content": {"simulate_seconds": 60}, "callback_url": url}
        pending = (await taskmill.client.post("/task", json=slow | {"delay_seconds": 60})).json()["id"]
        assert (await taskmill.client.patch(f"/task/{pending}/cancel")).status_code == 200
        group = (
            await taskmill.client.post(
                "/group",
                json={
                    "tasks": [failing, slow, {"content": 1, "delay_seconds": 60}],
                    "on_failure": "cancel_rest",
                    "callback_url": url,
                    "then": {"kind": "report", "callback_url": url},
                },
            )
        ).json()
        member_failed, member_canceled, _ = group["task_ids"]
        expected = {
            ("task.completed", completed),
            ("task.failed", failed),
            ("task.canceled", pending),
            ("task.failed", member_failed),
            ("task.canceled", member_canceled),
            ("group.ended", group["id"]),
            ("task.completed", group["then_task_id"]),
        }
        await until(lambda: _has_heard(receiver, len(expected)))
        heard = _told(receiver)
        assert set(heard) == expected
        for (kind, its_id), each in heard.items():
            message = _verified(each, OLD_SECRET)
            path = f"/{'group' if kind == 'group.ended' else 'task'}/{its_id}"
            now = (await taskmill.client.get(path)).json()
            of_its_kind = {} if kind == "group.ended" else {"max_attempts": None, "timeout_seconds": None}
            assert message["data"] | {name: now[name] for name in of_its_kind} == now
            assert message["timestamp"] == now["ended_at" if kind == "group.ended" else "finished_at"]
            delivery = await _delivered(taskmill, path)
            assert delivery["webhook_id"] == each.headers["webhook-id"]
            assert (delivery["type"], delivery["url"], delivery["next_try_at"]) == (kind, url, None)
            ((tried),) = delivery["tries"]
            assert (tried["status"], tried["error"]) == (200, None)
            assert 0 <= tried["duration_ms"] < 5_000
        assert heard["task.completed", completed].headers["traceparent"].startswith(trace[:36])
        receiver.heard.clear()
        assert (await taskmill.client.patch(f"/task/{failed}/retry")).status_code == 200
        repeat = await taskmill.client.post(f"/task/{failed}/deliveries")
        assert repeat.status_code == 201 or "has not ended" in repeat.text  # it may have failed again by now
        await until(lambda: _has_heard(receiver, 1 + (repeat.status_code == 201)))
        assert {_verified(each)["data"]["history"][0]["code"] for each in receiver.heard} == {"handler_error"}
        newest, *_, oldest = await _deliveries(taskmill, f"/task/{failed}")
        assert oldest["webhook_id"] == heard["task.failed", failed].headers["webhook-id"] != newest["webhook_id"]
        assert oldest["created_at"] < newest["created_at"]


async def _has_heard(receiver: Receiver, count: int) -> bool:
    return len(receiver.heard) >= count


async def test_what_becomes_of_deliveries(database_url: str, redis_url: str, receiver: Receiver) -> None:
    """By the answer: another try on schedule, by the same message; the end at 410; canceled; and again when asked."""
    answers = {
        "/flaky": iter([500, 200]),
        "/gone": iter([410]),
        "/moved": iter([302]),
        "/busy": iter([503]),
        "/ok": iter([204, 204]),
    }

    async def answer(request: web.Request) -> web.Response:
        headers = {"/moved": {"Location": "/ok"}, "/busy": {"Retry-After": "600"}}
        return web.Response(status=next(answers[request.path]), headers=headers.get(request.path, {}))

    receiver.answer = answer
    root = receiver.url.removesuffix("/hook")
    async with service(database_url, redis_url, **QUICK) as taskmill:
        await taskmill.start_consumer()
        tasks = {path: (await taskmill.create(1, callback_url=root + path))["id"] for path in answers}
        flaky = await _delivered(taskmill, f"/task/{tasks['/flaky']}")
        assert [tried["status"] for tried in flaky["tries"]] == [500, 200]
        assert [tried["error"] is None for tried in flaky["tries"]] == [False, True]
        first, second = (heard for heard in receiver.heard if heard.target == "/flaky")
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == flaky["webhook_id"]
        assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 4
        gone = await _delivered(taskmill, f"/task/{tasks['/gone']}", "failed")
        assert ([tried["status"] for tried in gone["tries"]], gone["next_try_at"]) == ([410], None)
        moved = await _delivered(taskmill, f"/task/{tasks['/moved']}", "pending")
        assert moved["tries"][0]["status"] == 302
        assert "redirects are not followed" in moved["tries"][0]["error"]
        busy = await _delivered(taskmill, f"/task/{tasks['/busy']}", "pending")
        wait = datetime.fromisoformat(busy["next_try_at"]) - datetime.fromisoformat(busy["tries"][0]["at"])
        assert 600 <= wait.total_seconds() <= 665
        canceled = await taskmill.client.patch(f"/task/{busy['id']}/cancel")
        assert (canceled.status_code, canceled.json()["kind"]) == (200, "callback")
        assert (await _delivered(taskmill, f"/task/{tasks['/busy']}", "canceled"))["next_try_at"] is None
        assert await _deliveries(taskmill, f"/task/{busy['id']}") == []  # of itself, nothing is told
        before = await _delivered(taskmill, f"/task/{tasks['/ok']}")
        answered = await taskmill.client.post(f"/task/{tasks['/ok']}/deliveries")
        assert (answered.status_code, answered.json()["webhook_id"]) == (201, before["webhook_id"])
        assert answered.json()["id"] != before["id"]

        async def is_repeated() -> bool:
            return [each["status"] for each in await _deliveries(taskmill, f"/task/{tasks['/ok']}")] == [
                "delivered"
            ] * 2

        await until(is_repeated)
        one, two = (heard for heard in receiver.heard if heard.target == "/ok")
        assert (one.body, one.headers["webhook-id"]) == (two.body, two.headers["webhook-id"])
        assert _verified(one) == _verified(two)


async def test_no_death_loses_a_callback(database_url: str, redis_url: str, receiver: Receiver) -> None:
    """Of a consumer that has ended a task, of one that runs it, and of one in the middle of a delivery."""
    is_hanging = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        is_hanging.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with service(database_url, redis_url, **QUICK) as taskmill:
        first = await taskmill.start_consumer(consumer_queues="default")  # it tells nothing itself
        ended = await taskmill.create("x", callback_url=receiver.url)
        lost = await taskmill.create({"simulate_seconds": 60}, callback_url=receiver.url)
        await taskmill.reaches(ended["id"], "completed")
        await taskmill.reaches(lost["id"], "processing")
        first.signal(signal.SIGKILL)
        (waiting,) = await _deliveries(taskmill, f"/task/{ended['id']}")
        assert (waiting["status"], waiting["tries"]) == ("pending", [])
        second = await taskmill.start_consumer(max_lost=1)
        for task, kind in ((ended, "task.completed"), (lost, "task.failed")):
            assert (await _delivered(taskmill, f"/task/{task['id']}"))["type"] == kind
        assert {key[0] for key in _told(receiver)} == {"task.completed", "task.failed"}
        errors = [_verified(heard)["data"]["error"] for heard in receiver.heard]
        assert {error["code"] for error in errors if error} == {"consumer_lost"}
        receiver.answer = hang
        told = await taskmill.create("y", callback_url=receiver.url)
        await asyncio.wait_for(is_hanging.wait(), 10)
        second.signal(signal.SIGKILL)
        receiver.answer = answering()
        await taskmill.start_consumer()
        delivery = await _delivered(taskmill, f"/task/{told['id']}")
        assert [(tried["status"], tried["duration_ms"] is None) for tried in delivery["tries"]] == [
            (None, True),
            (200, False),
        ]


async def test_a_thousand_callbacks(database_url: str, redis_url: str, receiver: Receiver, sql: Connection) -> None:
    """Each is recorded once, whoever of two consumers ends the task, and whoever tells it."""
    async with service(database_url, redis_url, **QUICK, log_level="info") as taskmill:
        await asyncio.gather(taskmill.start_consumer(), taskmill.start_consumer())
        tasks = [{"content": number, "callback_url": receiver.url} for number in range(1_000)]
        made = await taskmill.client.post("/group", json={"tasks": tasks, "callback_url": receiver.url})
        group = made.json()
        count = "SELECT count(*) FROM tasks WHERE kind = 'callback' AND status = 'completed' AND attempt = 1"

        async def are_delivered() -> bool:
            return bool(await sql.fetchval(count) == 1_001)

        await until(are_delivered, 60, every=0.1)
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE kind = 'callback'") == 1_001
        heard = [json.loads(each.body)["data"] for each in receiver.heard]
        assert sorted(data["id"] for data in heard) == sorted([group["id"], *group["task_ids"]])
        assert len({each.headers["webhook-id"] for each in receiver.heard}) == 1_001


async def test_a_private_name_is_refused_when_it_is_called(
    database_url: str, redis_url: str, receiver: Receiver
) -> None:
    """And a private address when it is posted; both say what would allow it."""
    settings = QUICK | {"http_allow_private": ""}
    async with service(database_url, redis_url, **settings) as taskmill:
        await taskmill.start_consumer()
        task = await taskmill.create("x", callback_url=f"http://localhost:{receiver.port}/")
        delivery = await _delivered(taskmill, f"/task/{task['id']}", "failed")
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
    consumer = Process([sys.executable, "-m", "app.consumer"], taskmill.env | {"CALLBACK_SECRETS": "hunter2"})
    try:
        assert await consumer.exit_code() == 2
        assert re.fullmatch(r"taskmill: CALLBACK_SECRETS: must be whsec_ .+\n", consumer.output())
    finally:
        consumer.kill()


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


async def test_a_repeat_that_can_not_be(live: Service, live_sql: Connection) -> None:
    """404 where there is nothing, 409 where nothing was told, or is kept; and the same for groups."""
    for path in ("/task/x", f"/task/{uuid7()}", "/group/x", f"/group/{uuid7()}"):
        for method in ("get", "post"):
            answer = await live.client.request(method, f"{path}/deliveries")
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
    url = "https://example.com/"
    without, telling = await live.create(1), await live.create(1, callback_url=url)
    for task, reason in ((without, "has no callback_url"), (telling, "has not ended")):
        await _conflicts(live, f"/task/{task['id']}", reason)
    await live.client.patch(f"/task/{without['id']}/cancel")
    await _conflicts(live, f"/task/{without['id']}", "has no callback_url")
    assert await _deliveries(live, f"/task/{without['id']}") == []
    await live.client.patch(f"/task/{telling['id']}/cancel")
    assert (await live.client.post(f"/task/{telling['id']}/deliveries")).status_code == 201
    await live_sql.execute("DELETE FROM tasks WHERE callback_of = $1", UUID(telling["id"]))
    await _conflicts(live, f"/task/{telling['id']}", "is kept")
    for fields, reason in (({}, "has no callback_url"), ({"callback_url": url}, "has not ended")):
        group = (await live.client.post("/group", json={"tasks": [{"content": 1}], **fields})).json()
        await _conflicts(live, f"/group/{group['id']}", reason)
    await live.client.patch(f"/group/{group['id']}/cancel")
    assert (await live.client.post(f"/group/{group['id']}/deliveries")).status_code == 201
    assert len(await _deliveries(live, f"/group/{group['id']}")) == 2
    await live_sql.execute("DELETE FROM groups WHERE id = $1", UUID(group["id"]))
    assert (await live.client.get(f"/group/{group['id']}/deliveries")).status_code == 404


async def _conflicts(live: Service, path: str, reason: str) -> None:
    answer = await live.client.post(f"{path}/deliveries")
    assert answer.status_code == 409
    assert reason in answer.json()["detail"]


def _is_refused(answer: Any, pointers: list[str]) -> None:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers
    assert "S3CRET" not in answer.text


async def test_the_documented_receiver_receives(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """As docs/callbacks.md has it: what Taskmill sends is taken, and what comes from others is not."""
    (program,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "callbacks.md").read_text(), re.DOTALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hook = tmp_path / "hook.py"
    hook.write_text(program.replace("9000", str(port)))
    async with service(database_url, redis_url, **QUICK) as taskmill:
        receiver = Process([sys.executable, str(hook)], taskmill.env | {"CALLBACK_SECRETS": SECRET})
        taskmill.processes.append(receiver)
        await taskmill.start_consumer()
        task = await taskmill.create("x", callback_url=f"http://127.0.0.1:{port}/")
        delivery = await _delivered(taskmill, f"/task/{task['id']}")
        assert delivery["tries"][-1]["status"] == 204
        await receiver.wrote(f"{delivery['webhook_id']} task.completed {task['id']}\n")
        headers = {"webhook-id": "x", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,x"}
        answer = await taskmill.client.post(f"http://127.0.0.1:{port}/", json={}, headers=headers)
        assert answer.status_code == 401
