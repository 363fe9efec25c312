"""Deliveries of callbacks: tried again, shown, canceled and repeated, whoever dies."""

import asyncio
import signal
from datetime import datetime
from uuid import UUID

from aiohttp import web
from uuid_utils.compat import uuid7

from tests.support.callbacks import QUICK, all_told, delivered, deliveries, verified
from tests.support.processes import Service, service
from tests.support.receiver import Receiver, answering
from tests.support.types import Connection
from tests.support.waiting import until


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
        flaky = await delivered(taskmill, f"/task/{tasks['/flaky']}")
        assert [tried["status"] for tried in flaky["tries"]] == [500, 200]
        assert [tried["error"] is None for tried in flaky["tries"]] == [False, True]
        first, second = (heard for heard in receiver.heard if heard.target == "/flaky")
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == flaky["webhook_id"]
        assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 4
        gone = await delivered(taskmill, f"/task/{tasks['/gone']}", "failed")
        assert ([tried["status"] for tried in gone["tries"]], gone["next_try_at"]) == ([410], None)
        moved = await delivered(taskmill, f"/task/{tasks['/moved']}", "pending")
        assert moved["tries"][0]["status"] == 302
        assert "redirects are not followed" in moved["tries"][0]["error"]
        busy = await delivered(taskmill, f"/task/{tasks['/busy']}", "pending")
        wait = datetime.fromisoformat(busy["next_try_at"]) - datetime.fromisoformat(busy["tries"][0]["at"])
        assert 600 <= wait.total_seconds() <= 665
        canceled = await taskmill.client.patch(f"/task/{busy['id']}/cancel")
        assert (canceled.status_code, canceled.json()["kind"]) == (200, "callback")
        assert (await delivered(taskmill, f"/task/{tasks['/busy']}", "canceled"))["next_try_at"] is None
        assert await deliveries(taskmill, f"/task/{busy['id']}") == []  # of itself, nothing is told
        before = await delivered(taskmill, f"/task/{tasks['/ok']}")
        answered = await taskmill.client.post(f"/task/{tasks['/ok']}/deliveries")
        assert (answered.status_code, answered.json()["webhook_id"]) == (201, before["webhook_id"])
        assert answered.json()["id"] != before["id"]

        async def is_repeated() -> bool:
            return [each["status"] for each in await deliveries(taskmill, f"/task/{tasks['/ok']}")] == ["delivered"] * 2

        await until(is_repeated)
        one, two = (heard for heard in receiver.heard if heard.target == "/ok")
        assert (one.body, one.headers["webhook-id"]) == (two.body, two.headers["webhook-id"])
        assert verified(one) == verified(two)


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
        (waiting,) = await deliveries(taskmill, f"/task/{ended['id']}")
        assert (waiting["status"], waiting["tries"]) == ("pending", [])
        second = await taskmill.start_consumer(max_lost=1)
        for task, kind in ((ended, "task.completed"), (lost, "task.failed")):
            assert (await delivered(taskmill, f"/task/{task['id']}"))["type"] == kind
        assert {key[0] for key in all_told(receiver)} == {"task.completed", "task.failed"}
        errors = [verified(heard)["data"]["error"] for heard in receiver.heard]
        assert {error["code"] for error in errors if error} == {"consumer_lost"}
        receiver.answer = hang
        told = await taskmill.create("y", callback_url=receiver.url)
        await asyncio.wait_for(is_hanging.wait(), 10)
        second.signal(signal.SIGKILL)
        receiver.answer = answering()
        await taskmill.start_consumer()
        delivery = await delivered(taskmill, f"/task/{told['id']}")
        assert [(tried["status"], tried["duration_ms"] is None) for tried in delivery["tries"]] == [
            (None, True),
            (200, False),
        ]


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
    assert await deliveries(live, f"/task/{without['id']}") == []
    await live.client.patch(f"/task/{telling['id']}/cancel")
    assert (await live.client.post(f"/task/{telling['id']}/deliveries")).status_code == 201
    await live_sql.execute("DELETE FROM tasks WHERE callback_of = $1", UUID(telling["id"]))
    await _conflicts(live, f"/task/{telling['id']}", "is kept")
    for fields, reason in (({}, "has no callback_url"), ({"callback_url": url}, "has not ended")):
        group = (await live.client.post("/group", json={"tasks": [{"content": 1}], **fields})).json()
        await _conflicts(live, f"/group/{group['id']}", reason)
    await live.client.patch(f"/group/{group['id']}/cancel")
    assert (await live.client.post(f"/group/{group['id']}/deliveries")).status_code == 201
    assert len(await deliveries(live, f"/group/{group['id']}")) == 2
    await live_sql.execute("DELETE FROM groups WHERE id = $1", UUID(group["id"]))
    assert (await live.client.get(f"/group/{group['id']}/deliveries")).status_code == 404


async def _conflicts(live: Service, path: str, reason: str) -> None:
    answer = await live.client.post(f"{path}/deliveries")
    assert answer.status_code == 409
    assert reason in answer.json()["detail"]
