"""Callbacks: over the API, by real consumers, to a real receiver."""

import asyncio
import json
import re
import socket
import time
from pathlib import Path

from tests.support.callbacks import OLD_SECRET, QUICK, SECRET, all_told, delivered, deliveries, verified
from tests.support.processes import ROOT, Process, service
from tests.support.receiver import Receiver
from tests.support.types import Connection
from tests.support.waiting import until


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
        heard = all_told(receiver)
        assert set(heard) == expected
        for (kind, its_id), each in heard.items():
            message = verified(each, OLD_SECRET)
            path = f"/{'group' if kind == 'group.ended' else 'task'}/{its_id}"
            now = (await taskmill.client.get(path)).json()
            of_its_kind = {} if kind == "group.ended" else {"max_attempts": None, "timeout_seconds": None}
            assert message["data"] | {name: now[name] for name in of_its_kind} == now
            assert message["timestamp"] == now["ended_at" if kind == "group.ended" else "finished_at"]
            delivery = await delivered(taskmill, path)
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
        assert {verified(each)["data"]["history"][0]["code"] for each in receiver.heard} == {"handler_error"}
        newest, *_, oldest = await deliveries(taskmill, f"/task/{failed}")
        assert oldest["webhook_id"] == heard["task.failed", failed].headers["webhook-id"] != newest["webhook_id"]
        assert oldest["created_at"] < newest["created_at"]


async def _has_heard(receiver: Receiver, count: int) -> bool:
    return len(receiver.heard) >= count


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


async def test_the_documented_receiver_receives(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """As docs/callbacks.md has it: what Taskmill sends is taken, and what comes from others is not."""
    (program,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "callbacks.md").read_text(), re.DOTALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hook = tmp_path / "hook.py"
    hook.write_text(program.replace("9000", str(port)))
    async with service(database_url, redis_url, **QUICK) as taskmill:
        receiver = Process([str(hook)], taskmill.env | {"CALLBACK_SECRETS": SECRET})
        taskmill.processes.append(receiver)
        await taskmill.start_consumer()
        task = await taskmill.create("x", callback_url=f"http://127.0.0.1:{port}/")
        delivery = await delivered(taskmill, f"/task/{task['id']}")
        assert delivery["tries"][-1]["status"] == 204
        await receiver.wrote(f"{delivery['webhook_id']} task.completed {task['id']}\n")
        headers = {"webhook-id": "x", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,x"}
        answer = await taskmill.client.post(f"http://127.0.0.1:{port}/", json={}, headers=headers)
        assert answer.status_code == 401
