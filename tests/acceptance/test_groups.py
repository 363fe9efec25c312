"""Groups over HTTP, with real consumers: ends, failures, cancels, and a consumer that is killed in the middle."""

import asyncio
import signal
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.support.processes import Service, service
from tests.support.types import Connection
from tests.support.waiting import until

HANDLERS = {"handler_modules": "tests.handlers.groups"}
QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3}


async def _create(taskmill: Service, **body: Any) -> dict[str, Any]:
    answer = await taskmill.client.post("/group", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def _get(taskmill: Service, group_id: str) -> dict[str, Any]:
    answer = await taskmill.client.get(f"/group/{group_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _ended(taskmill: Service, group_id: str, seconds: float = 20) -> dict[str, Any]:
    async def has_ended() -> bool:
        return bool((await _get(taskmill, group_id))["status"] == "ended")

    await until(has_ended, seconds)
    return await _get(taskmill, group_id)


def _steps(count: int, **fields: Any) -> list[Mapping[str, Any]]:
    return [{"kind": "step", "content": fields} for _ in range(count)]


async def test_a_group_from_its_creation_to_its_end(database_url: str, redis_url: str) -> None:
    """Created with all its members, run, counted, and followed by `then`, which is told the counts."""
    async with service(database_url, redis_url, **HANDLERS) as taskmill:
        tasks = [*_steps(9, progress=4), *_steps(1, fails=True)]
        made = await _create(taskmill, tasks=tasks, then={"kind": "report", "content": {"label": "x"}})
        assert (made["total"], made["status"], made["on_failure"]) == (10, "open", "continue")
        assert made["counts"] == {"pending": 10, "processing": 0, "completed": 0, "failed": 0, "canceled": 0}
        assert len(set(made["task_ids"])) == 10
        found = await _get(taskmill, made["id"])
        assert found == {name: value for name, value in made.items() if name != "task_ids"}
        assert (await taskmill.client.get(f"/task/{made['then_task_id']}")).status_code == 404
        for task_id, task in zip(made["task_ids"], tasks, strict=True):
            kept = await taskmill.get(task_id)
            assert (kept["group_id"], kept["content"]) == (made["id"], task["content"])
        await taskmill.start_consumer()
        ended = await _ended(taskmill, made["id"])
        assert ended["counts"] == {"pending": 0, "processing": 0, "completed": 9, "failed": 1, "canceled": 0}
        assert ended["progress"] == {"done": 36, "total": 90}
        (error,) = ended["errors"]
        assert error["task_id"] == made["task_ids"][9]
        assert (error["code"], error["message"], error["attempt"]) == ("handler_error", "it was told to", 1)
        await taskmill.reaches(made["then_task_id"], "completed")
        then = await taskmill.get(made["then_task_id"])
        told = {"id": made["id"], "total": 10, "completed": 9, "failed": 1, "canceled": 0}
        assert then["content"] == {"label": "x", "group": told}
        assert then["result"] == {"label": "x", "group": told}


async def test_10_000_members_in_one_request(database_url: str, redis_url: str) -> None:
    """All of them, and their `then`, with two consumers; others are answered meanwhile."""
    async with service(database_url, redis_url, **HANDLERS, log_level="info") as taskmill:
        await asyncio.gather(taskmill.start_consumer(), taskmill.start_consumer())
        creating = asyncio.create_task(_create(taskmill, tasks=_steps(10_000), then={"kind": "report"}))
        while not creating.done():
            async with asyncio.timeout(1):
                await taskmill.client.get("/livez")
        made = await creating
        ended = await _ended(taskmill, made["id"], 60)
        assert ended["counts"]["completed"] == 10_000
        await taskmill.reaches(made["then_task_id"], "completed")


async def test_a_consumer_killed_in_the_middle_of_a_group(database_url: str, redis_url: str, sql: Connection) -> None:
    """What it ran runs elsewhere; the group ends, and is followed once."""
    async with service(database_url, redis_url, **HANDLERS, **QUICK, consumer_concurrency=10) as taskmill:
        first = await taskmill.start_consumer()
        made = await _create(taskmill, tasks=_steps(60, seconds=0.2), then={"kind": "report"})

        async def is_half_way() -> bool:
            counts = (await _get(taskmill, made["id"]))["counts"]
            assert sum(counts.values()) == 60
            return bool(counts["completed"] >= 20 and counts["processing"])

        await until(is_half_way)
        first.signal(signal.SIGKILL)
        await taskmill.start_consumer()
        ended = await _ended(taskmill, made["id"], 30)
        assert ended["counts"] == {"pending": 0, "processing": 0, "completed": 60, "failed": 0, "canceled": 0}
        await taskmill.reaches(made["then_task_id"], "completed")
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE kind = 'report'") == 1
        assert await sql.fetchval("SELECT max(attempt) FROM tasks WHERE kind = 'step'") == 2


async def test_one_failure_cancels_the_rest_within_a_second(database_url: str, redis_url: str) -> None:
    """Pending and running members, on two consumers, by the times in the rows; and `then` is told."""
    async with service(database_url, redis_url, **HANDLERS, consumer_concurrency=10) as taskmill:
        consumers = await asyncio.gather(taskmill.start_consumer(), taskmill.start_consumer())
        tasks = [*_steps(1, seconds=3, fails=True), *_steps(39, seconds=60)]
        made = await _create(taskmill, tasks=tasks, on_failure="cancel_rest", then={"kind": "report"})

        async def is_full() -> bool:
            return bool((await _get(taskmill, made["id"]))["counts"]["processing"] == 20)

        await until(is_full)
        ended = await _ended(taskmill, made["id"])
        assert ended["counts"] == {"pending": 0, "processing": 0, "completed": 0, "failed": 1, "canceled": 39}
        failed, *canceled = [await taskmill.get(task_id) for task_id in made["task_ids"]]
        for task in canceled:
            assert task["status"] == "canceled"
            assert task["error"]["code"] == "canceled_group"
            assert 0 <= _seconds(failed["finished_at"], task["finished_at"]) < 1
        assert {task["attempt"] for task in canceled} == {0, 1}

        async def have_stopped() -> bool:
            started = sum(task["attempt"] for task in canceled)  # 19, or a slot was taken anew before the cancel
            return bool(sum(c.output().count("handler stopped") for c in consumers) == started)

        await until(have_stopped)
        await taskmill.reaches(made["then_task_id"], "completed")


async def test_canceling_a_group(database_url: str, redis_url: str, sql: Connection) -> None:
    """200, and again 200; 404 where there is none; 400 where it has ended; and nothing follows."""
    async with service(database_url, redis_url, **HANDLERS) as taskmill:
        consumer = await taskmill.start_consumer(consumer_concurrency=5)
        made = await _create(taskmill, tasks=_steps(20, seconds=60), then={"kind": "report"})

        async def is_running() -> bool:
            return bool((await _get(taskmill, made["id"]))["counts"]["processing"] == 5)

        await until(is_running)
        answers = [await taskmill.client.patch(f"/group/{made['id']}/cancel") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()
        canceled = answers[0].json()
        assert (canceled["status"], canceled["counts"]["canceled"]) == ("ended", 20)
        assert canceled["canceled_at"] is not None
        await until(lambda: _has_written(consumer.output, "handler stopped", 5), 1)
        assert {task["error"] for task in [await taskmill.get(task_id) for task_id in made["task_ids"]]} == {None}
        done = await _create(taskmill, tasks=_steps(1))
        await _ended(taskmill, done["id"])
        refused = await taskmill.client.patch(f"/group/{done['id']}/cancel")
        assert refused.status_code == 400
        assert "already ended" in refused.json()["detail"]
        for group_id in ("x", made["task_ids"][0]):
            assert (await taskmill.client.patch(f"/group/{group_id}/cancel")).status_code == 404
            assert (await taskmill.client.get(f"/group/{group_id}")).status_code == 404
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE kind = 'report'") == 0


async def test_a_handler_spawns_a_group_and_then_carries_on(database_url: str, redis_url: str) -> None:
    """Over HTTP one sees its result, its group and what follows."""
    async with service(database_url, redis_url, **HANDLERS) as taskmill:
        await taskmill.start_consumer()
        parent = await taskmill.create({"steps": 5, "failures": 1}, kind="fan_out")
        await taskmill.reaches(parent["id"], "completed")
        group_id = (await taskmill.get(parent["id"]))["result"]["group_id"]
        ended = await _ended(taskmill, group_id)
        assert ended["counts"]["completed"] == 5
        await taskmill.reaches(ended["then_task_id"], "completed")


async def _has_written(output: Any, text: str, times: int) -> bool:
    return bool(output().count(text) == times)


def _seconds(first: str, second: str) -> float:
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()
