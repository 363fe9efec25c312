"""Queues over HTTP, with real consumers: what they have, pauses, reasons, and limits."""

import json
import socket
from collections.abc import Mapping
from typing import Any

from tests.support.processes import Service, service
from tests.support.refusals import Refusals
from tests.support.waiting import until
from tests.support.wire import JSON, request

HANDLERS = {"handler_modules": "tests.handlers.work"}
QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3, "drain_seconds": 0}


async def _queue(taskmill: Service, name: str) -> dict[str, Any]:
    answer = await taskmill.client.get(f"/queue/{name}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _pause(taskmill: Service, name: str, *, paused: bool) -> dict[str, Any]:
    answer = await taskmill.client.patch(f"/queue/{name}", json={"paused": paused})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _why(taskmill: Service, task: Mapping[str, Any]) -> dict[str, Any]:
    answer = await taskmill.client.get(f"/task/{task['id']}/why")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_why_and_what_queues_have(database_url: str, redis_url: str) -> None:
    """One after the other, each reason that a task can meet in its life; and queues that say the same."""
    async with service(database_url, redis_url, **HANDLERS, **QUICK) as taskmill:
        first = await taskmill.create({"seconds": 600}, kind="sleep", concurrency_key="k")
        why = await _why(taskmill, first)
        assert (why["reason"], why["queue"], why["status"]) == ("no_consumer", "default", "pending")
        assert (await _queue(taskmill, "default"))["consumers"] == []
        later = await taskmill.create(delay_seconds=60)
        why = await _why(taskmill, later)
        assert why["reason"] == "due_later"
        assert 50 < why["seconds"] <= 60

        await taskmill.start_consumer(consumer_concurrency=3)
        await taskmill.reaches(first["id"], "processing")
        why = await _why(taskmill, first)
        assert (why["reason"], why["consumer"]["host"]) == ("running", socket.gethostname())
        second = await taskmill.create({"seconds": 600}, kind="sleep", concurrency_key="k")
        third = await taskmill.create({"seconds": 600}, kind="sleep", concurrency_key="k")
        why = await _why(taskmill, third)
        assert why["reason"] == "limit_reached"
        assert why["concurrency"] == {"key": "k", "limit": 1, "held": 1, "held_by": [first["id"]], "ahead": 1}
        flaky = await taskmill.create({"failures": 1, "after": 60}, kind="flaky")

        async def has_failed() -> bool:
            return bool((await taskmill.get(flaky["id"]))["history"])

        await until(has_failed)
        why = await _why(taskmill, flaky)
        assert why["reason"] == "waits_for_retry"
        assert 0 < why["seconds"] <= 60

        for _ in range(2):  # now all slots are taken
            busy = await taskmill.create({"seconds": 600}, kind="sleep")
            await taskmill.reaches(busy["id"], "processing")
        waiting = [await taskmill.create() for _ in range(3)]
        assert [(await _why(taskmill, task))["ahead"] for task in waiting] == [0, 1, 2]
        why = await _why(taskmill, waiting[2])
        assert (why["reason"], why["message"]) == ("in_line", "Tasks of its queue that are before it: 2.")
        canceled = (await taskmill.client.patch(f"/task/{waiting[2]['id']}/cancel")).json()
        assert (await _why(taskmill, canceled))["reason"] == "ended"

        queue = await _queue(taskmill, "default")
        counts = {"pending": 6, "processing": 3, "completed": 0, "failed": 0, "canceled": 1}
        assert queue["counts"] == counts, second
        assert queue["oldest_wait_seconds"] > 0
        (consumer,) = queue["consumers"]
        assert consumer["host"] == socket.gethostname()
        assert (
            set(consumer["kinds"])
            == set(queue["kinds"])
            == {*("simulate", "http", "flaky", "hopeless", "sleep", "number_rows", "number_rows_in_child")}
        )
        queues = (await taskmill.client.get("/queue")).json()["queues"]
        assert [(queue["name"], queue["kinds"]) for queue in queues if queue["name"] != "default"] == [
            ("bulk", ["bulk"]),
            ("callbacks", ["callback"]),
            ("slow", ["slow_sleep"]),
        ]


async def test_a_paused_queue_waits_and_goes_on(database_url: str, redis_url: str) -> None:
    """Over the restart of everything; another queue runs on; in it tasks are created and canceled as ever."""
    async with service(database_url, redis_url, **HANDLERS, **QUICK) as taskmill:
        consumer = await taskmill.start_consumer()
        running = await taskmill.create({"seconds": 1}, kind="slow_sleep")
        await taskmill.reaches(running["id"], "processing")
        paused = await _pause(taskmill, "slow", paused=True)
        assert paused["paused_at"] is not None
        assert (await _pause(taskmill, "slow", paused=True))["paused_at"] == paused["paused_at"]
        waits = await taskmill.create({"seconds": 0}, kind="slow_sleep")
        canceled = await taskmill.create({"seconds": 0}, kind="slow_sleep")
        assert (await taskmill.client.patch(f"/task/{canceled['id']}/cancel")).status_code == 200
        await taskmill.reaches(running["id"], "completed")
        await consumer.kill()
        await taskmill.start_consumer()
        other = await taskmill.create({"seconds": 0}, kind="sleep")
        await taskmill.reaches(other["id"], "completed")
        why = await _why(taskmill, waits)
        assert (why["reason"], why["paused_at"]) == ("queue_paused", paused["paused_at"])
        assert (await _pause(taskmill, "slow", paused=False))["paused_at"] is None
        await taskmill.reaches(waits["id"], "completed", 3)


async def test_a_full_queue_takes_no_more_until_it_has_drained(database_url: str, redis_url: str) -> None:
    """Filled to the limit: 429, with the time that the measured rate needs; drained: 201 again."""
    async with service(database_url, redis_url, **HANDLERS, **QUICK, max_pending=20) as taskmill:
        quick = {"content": {"seconds": 0.3}, "kind": "sleep"}  # some seconds in all, so that the rate is seen
        for _ in range(20):
            await taskmill.create(quick["content"], kind="sleep")
        for path, body in (("/task", quick), ("/group", {"tasks": [quick] * 5})):
            full = await taskmill.client.post(path, json=body)
            assert full.status_code == 429
            assert full.headers["content-type"] == "application/problem+json"
            assert full.headers["retry-after"] == "60"  # nothing ends
        too_many = await taskmill.client.post("/group", json={"tasks": [quick] * 21})
        assert too_many.status_code == 422
        await taskmill.create({"seconds": 0}, kind="slow_sleep")  # the other queue has room
        await taskmill.start_consumer(consumer_concurrency=1)
        waits = []

        async def has_room() -> bool:
            answer = await taskmill.client.post("/group", json={"tasks": [quick] * 10})
            if answer.status_code == 429:
                waits.append(int(answer.headers["retry-after"]))
            return answer.status_code == 201

        await until(has_room, every=0.1)
        assert all(1 <= seconds <= 60 for seconds in waits)
        assert min(waits) <= 20  # three a second, counted since the first was created


async def test_a_stream_that_is_sent_again_needs_no_room(database_url: str, redis_url: str) -> None:
    """Its queue is full, of its own tasks: those are answered, and a line more is not taken."""
    lines = [b'{"content": %d}\n' % number for number in range(5)]
    headers = {"content-type": "application/x-ndjson", "idempotency-key": "import-17"}
    async with service(database_url, redis_url, max_pending=5) as taskmill:

        async def send(count: int) -> list[dict[str, Any]]:
            answer = await taskmill.client.post("/task/batch", content=b"".join(lines[:count]), headers=headers)
            return [json.loads(line) for line in answer.text.splitlines()]

        first = await send(4)
        await taskmill.create()
        again = await send(5)
    assert [line["task"]["id"] for line in again[:4]] == [line["task"]["id"] for line in first]
    assert all(line["replayed"] for line in again[:4])
    assert again[4]["error"]["status"] == 429


async def test_bad_requests_about_queues(refusals: Refusals) -> None:
    """Each with its pointer; and names that are no queue's."""
    for body, status, pointers in (
        (b"{}", 422, ["/paused"]),
        (b"[]", 422, [""]),
        (b'{"paused": 1}', 422, ["/paused"]),
        (b'{"paused": "true"}', 422, ["/paused"]),
        (b'{"paused": null}', 422, ["/paused"]),
        (b'{"paused": true, "name": "x"}', 422, ["/name"]),
        (b"{", 400, []),
        (b"", 400, []),
    ):
        await refusals.refuse(request("PATCH", "/queue/default", JSON, body=body), status, pointers)
    await refusals.refuse(request("PATCH", "/queue/default", body=b"{}"), 415)
    for name in ("x", "Default", "%00", "(unknown)", "a" * 5_000, "%F0%28", "..", "default%2F"):
        await refusals.refuse(request("GET", f"/queue/{name}"), 404)
        await refusals.refuse(request("PATCH", f"/queue/{name}", JSON, body=b'{"paused": true}'), 404)
    await refusals.refuse(request("DELETE", "/queue/default"), 405)
    await refusals.refuse(request("POST", "/queue", JSON, body=b"{}"), 405)
    for task_id in ("x", "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21", "%00"):
        await refusals.refuse(request("GET", f"/task/{task_id}/why"), 404)
