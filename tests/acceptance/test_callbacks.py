"""Callbacks: over the API, by real consumers, to a real receiver."""

import base64
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.support.processes import Service, service
from tests.support.receiver import Heard, Receiver, receiving
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


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A service on 127.0.0.1."""
    async with receiving() as receiver:
        yield receiver


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
        consumer = await taskmill.start_consumer(consumer_concurrency=50)
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
            # As GET answers it; but what is left to the kind is null.
            assert message["data"] | {"max_attempts": now.get("max_attempts")} | {
                "timeout_seconds": now.get("timeout_seconds")
            } == (now if kind != "group.ended" else now | {"max_attempts": None, "timeout_seconds": None})
            assert message["timestamp"] == now["ended_at" if kind == "group.ended" else "finished_at"]
            delivery = await _delivered(taskmill, path)
            assert delivery["webhook_id"] == each.headers["webhook-id"]
            assert (delivery["type"], delivery["url"], delivery["next_try_at"]) == (kind, url, None)
            ((tried),) = delivery["tries"]
            assert (tried["status"], tried["error"]) == (200, None)
            assert 0 <= tried["duration_ms"] < 5_000
        assert heard["task.completed", completed].headers["traceparent"].startswith(trace[:36])
        consumer.signal(signal.SIGTERM)


async def _has_heard(receiver: Receiver, count: int) -> bool:
    return len(receiver.heard) >= count
