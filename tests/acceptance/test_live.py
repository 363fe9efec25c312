"""Live: streams of events over their whole life, with real consumers."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from app.queue.changes import CHANNEL
from tests.support.processes import service
from tests.support.sse import Watch, watching
from tests.support.waiting import until

HANDLERS = {"handler_modules": "tests.handlers.groups,tests.handlers.work"}


async def _subscribers(redis: Redis) -> int:
    ((_, count),) = await redis.pubsub_numsub(CHANNEL)
    return int(count)


async def _statuses(watch: Watch) -> list[str]:
    events = await watch.rest()
    versions = [int(event.id) for event in events]
    assert versions == sorted(set(versions))
    assert [event.data["version"] for event in events] == versions
    return [event.data["status"] for event in events]


async def test_a_task_from_its_creation_to_its_end(database_url: str, redis_url: str, redis: Redis) -> None:
    """Each event is the task as GET answers it; progress, cancel, retries and reopening are seen; then it ends."""
    async with service(database_url, redis_url, **HANDLERS) as taskmill:
        task = await taskmill.create({"seconds": 0.6, "progress": 3}, kind="step")
        path = f"/task/{task['id']}"
        assert await _subscribers(redis) == 0
        async with watching(taskmill, path) as watch:
            assert watch.answer.headers["content-type"] == "text/event-stream"
            assert watch.answer.headers["cache-control"] == "no-store"
            assert watch.answer.headers["x-accel-buffering"] == "no"
            first = await watch.next()
            assert first is not None
            assert watch.retry is not None
            assert 1_000 <= watch.retry <= 3_000
            assert (first.id, first.name, first.data) == ("1", "task", task)
            await until(lambda: _is(_subscribers(redis), 1))
            await taskmill.start_consumer()
            events = await watch.rest()
        assert [event.data["status"] for event in events] == ["processing", "processing", "completed"]
        assert [event.data["progress"] and event.data["progress"]["done"] for event in events] == [None, 3, 3]
        assert events[-1].data == await taskmill.get(task["id"])
        await until(lambda: _is(_subscribers(redis), 0))

        async with watching(taskmill, path) as watch:  # it has ended: one event, and no subscription
            assert await _statuses(watch) == ["completed"]
        async with watching(taskmill, path, last=events[-2].id) as watch:
            assert await _statuses(watch) == ["completed"]
        gone = await taskmill.client.get(f"{path}/events", headers={"Last-Event-ID": events[-1].id})
        assert (gone.status_code, gone.content) == (204, b"")
        assert await _subscribers(redis) == 0

        running = await taskmill.create({"simulate_seconds": 60})
        await taskmill.reaches(running["id"], "processing")
        async with watching(taskmill, f"/task/{running['id']}", last="2") as watch:  # which is what it knows
            canceled = await taskmill.client.patch(f"/task/{running['id']}/cancel")
            (last,) = await watch.rest()
            assert last.data == canceled.json()

        failing = await taskmill.create({"failures": 9, "after": 0.05}, kind="flaky", max_attempts=2)
        async with watching(taskmill, f"/task/{failing['id']}", last="x") as watch:
            statuses = await _statuses(watch)
        assert statuses[-1] == "failed"
        assert set(statuses) <= {"pending", "processing", "failed"}
        version = str((await taskmill.get(failing["id"]))["version"])
        await taskmill.client.patch(f"/task/{failing['id']}/retry")  # what ended goes on
        async with watching(taskmill, f"/task/{failing['id']}", last=version) as watch:
            assert (await _statuses(watch))[-1] == "failed"

        rows = await taskmill.create({"rows": 4, "step": 1, "pause": 0.3}, kind="number_rows_in_child", max_attempts=1)
        async with watching(taskmill, f"/task/{rows['id']}") as watch:  # there is no table, so no checkpoint either
            assert (await watch.until_status("failed")).data["progress"] is None


async def test_a_group_to_its_end(database_url: str, redis_url: str) -> None:
    """Counts as members start, tell their progress and end; at most five events a second; then it ends."""
    async with service(database_url, redis_url, **HANDLERS) as taskmill:
        await taskmill.start_consumer(consumer_concurrency=10)
        tasks = [{"kind": "step", "content": {"seconds": 0.1, "progress": 1}} for _ in range(100)]
        made = (await taskmill.client.post("/group", json={"tasks": tasks, "then": {"kind": "report"}})).json()
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with watching(taskmill, f"/group/{made['id']}") as watch:
            events = await watch.rest(20)
        seconds = loop.time() - start
        assert {event.name for event in events} == {"group"}
        versions = [int(event.id) for event in events]
        assert versions == sorted(set(versions))
        assert 3 <= len(events) <= seconds * 5 + 2
        for event in events:
            assert sum(event.data["counts"].values()) == 100
        assert [event.data["status"] for event in events[:-1]] == ["open"] * (len(events) - 1)
        ended = events[-1]
        assert (ended.data["status"], ended.data["counts"]["completed"]) == ("ended", 100)
        found = await taskmill.client.get(f"/group/{made['id']}")
        assert found.json() == ended.data
        assert found.headers["etag"] == f'W/"{ended.id}"'
        gone = await taskmill.client.get(f"/group/{made['id']}/events", headers={"Last-Event-ID": ended.id})
        assert gone.status_code == 204

        slow = {"tasks": [{"kind": "step", "content": {"seconds": 60}}] * 2}
        other = (await taskmill.client.post("/group", json=slow)).json()
        async with watching(taskmill, f"/group/{other['id']}") as watch:
            await _counts(watch, processing=2)
            await taskmill.client.patch(f"/task/{other['task_ids'][0]}/cancel")
            await _counts(watch, canceled=1, processing=1)
            canceled = (await taskmill.client.patch(f"/group/{other['id']}/cancel")).json()
            assert (await watch.rest())[-1].data == canceled


async def test_checkpoints_are_seen(database_url: str, redis_url: str, sql: Any) -> None:
    """In the consumer and in its child processes."""
    await sql.execute("CREATE TABLE numbers (n int)")
    async with service(database_url, redis_url, **HANDLERS) as taskmill:
        for kind in ("number_rows", "number_rows_in_child"):
            task = await taskmill.create({"rows": 3, "step": 1, "pause": 0.5}, kind=kind)
            async with watching(taskmill, f"/task/{task['id']}") as watch:
                await watch.next()
                consumer = await taskmill.start_consumer()
                events = await watch.rest()
            await consumer.kill()
            seen = [event.data["progress"]["done"] for event in events if event.data["progress"]]
            assert seen == [1, 2, 3, 3]


async def test_who_leaves_leaves_nothing(database_url: str, redis_url: str, redis: Redis) -> None:
    """A client that goes away, in the middle of a stream or of a long poll: its place is free, nobody listens."""
    async with service(database_url, redis_url, max_streams=2) as taskmill:
        task = await taskmill.create()
        path = f"/task/{task['id']}"
        for _ in range(2):
            async with watching(taskmill, path) as first, watching(taskmill, path) as second:
                assert await first.next() == await second.next()
                await until(lambda: _is(_subscribers(redis), 1))
                for refused in (f"{path}/events", f"{path}?wait=1"):
                    answer = await taskmill.client.get(refused)
                    assert answer.status_code == 429
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert int(answer.headers["retry-after"]) > 0
                assert (await taskmill.client.get(path)).status_code == 200  # who does not wait takes no place
            await until(lambda: _is(_subscribers(redis), 0))
            polls = [asyncio.create_task(taskmill.client.get(f"{path}?wait=60")) for _ in range(2)]
            await until(lambda: _is(_subscribers(redis), 1))
            for poll in polls:
                poll.cancel()
            await until(lambda: _is(_subscribers(redis), 0))
        assert "Traceback" not in taskmill.processes[0].output()


async def _counts(watch: Watch, **counts: int) -> None:
    while (event := await watch.next()) is not None:
        if {name: event.data["counts"][name] for name in counts} == counts:
            return
    raise AssertionError(f"never {counts}")


async def _is(found: Any, wanted: int) -> bool:
    return bool(await found == wanted)
