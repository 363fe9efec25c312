"""Actions on many tasks: done by a task of its own, which survives its consumer and can be stopped."""

import signal
from typing import Any
from uuid import uuid4

import pytest

from tests.support.processes import Service, service
from tests.support.types import Connection
from tests.support.waiting import until

QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3}

# Older than whatever the tests create, due in a day.
FILL = """
INSERT INTO tasks (id, kind, content, status, run_at, error, finished_at)
SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
        || substr(md5(n::text), 4, 15))::uuid, 'simulate', json_build_object('customer', (n % 2)::text), $2,
    now() + interval '1 day', CASE WHEN $2 = 'failed' THEN '{"code": "timeout", "attempt": 1}'::jsonb END,
    CASE WHEN $2 = 'failed' THEN now() END
FROM generate_series(1, $1::int) AS n
"""


async def _bulk(taskmill: Service, action: str, *, dry_run: bool = False, **conditions: Any) -> dict[str, Any]:
    body = {"action": action, "filter": conditions, "dry_run": dry_run}
    answer = await taskmill.client.post("/task/bulk", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["kind"] == "bulk"
    return dict(answer.json())


async def _result(taskmill: Service, task: dict[str, Any], seconds: float = 20) -> Any:
    await taskmill.reaches(task["id"], "completed", seconds)
    return (await taskmill.get(task["id"]))["result"]


async def test_a_consumer_killed_in_the_middle_costs_nothing(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """5,000 tasks are canceled, each once, and all are counted; a dry run before it counts the same."""
    await sql.execute(FILL, 10_000, "pending")
    async with service(database_url, redis_url, **QUICK) as taskmill:
        consumer = await taskmill.start_consumer()
        dry = await _bulk(taskmill, "cancel", dry_run=True, content={"customer": "1"})
        assert await _result(taskmill, dry) == {"matched": 5_000, "changed": 0, "dry_run": True}
        async with sql.transaction():  # one row is held, so that the consumer gets so far and no further
            held = await sql.fetchval(
                "SELECT id FROM tasks WHERE content ->> 'customer' = '1' ORDER BY id OFFSET 2500 LIMIT 1 FOR UPDATE"
            )
            task = await _bulk(taskmill, "cancel", content={"customer": "1"})

            async def has_begun() -> bool:
                return (await taskmill.get(task["id"]))["progress"] not in (None, {"done": 0, "total": None})

            await until(has_begun)
            await until(lambda: _is_waited_for(sql))
            consumer.signal(signal.SIGKILL)
            await consumer.exit_code()
        assert held is not None
        await taskmill.start_consumer()
        assert await _result(taskmill, task) == {"matched": 5_000, "changed": 5_000, "dry_run": False}
        assert (await taskmill.get(task["id"]))["attempt"] == 2
        counts = await sql.fetch(
            "SELECT content ->> 'customer', status, count(*), max(version) FROM tasks WHERE kind = 'simulate'"
            " GROUP BY 1, 2 ORDER BY 1"
        )
        assert [tuple(row) for row in counts] == [("0", "pending", 5_000, 1), ("1", "canceled", 5_000, 2)]


async def _is_waited_for(sql: Connection) -> bool:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    return bool(await sql.fetchval(waiting))


async def test_it_acts_on_what_it_is_told_and_nothing_else(database_url: str, redis_url: str, sql: Connection) -> None:
    """Retry is for failed tasks; running ones are stopped; other bulk tasks and later tasks are left alone."""
    await sql.execute(FILL, 1_200, "failed")
    async with service(database_url, redis_url, **QUICK, simulate_seconds=60, consumer_concurrency=1_000) as taskmill:
        before = await taskmill.create({"customer": "9"})
        waiting = await _bulk(taskmill, "cancel", kind=["nothing"])  # of its kind is another, and no consumer runs yet
        retry = await _bulk(taskmill, "retry", content={"customer": "1"})
        await taskmill.start_consumer()
        assert await _result(taskmill, retry) == {"matched": 600, "changed": 600, "dry_run": False}
        counts = "SELECT status, count(*) FROM tasks WHERE content ->> 'customer' = $1 GROUP BY 1 ORDER BY 1"
        assert [tuple(row) for row in await sql.fetch(counts, "0")] == [("failed", 600)]
        assert sum(row[1] for row in await sql.fetch(counts, "1") if row[0] in {"pending", "processing"}) == 600
        assert await sql.fetchval("SELECT history -> 0 ->> 'code' FROM tasks WHERE content ->> 'customer' = '1'") == (
            "timeout"
        )
        await _result(taskmill, waiting)
        cancel = await _bulk(taskmill, "cancel", status=["pending", "processing"])
        later = await taskmill.create({"simulate_seconds": 0})
        assert (await _result(taskmill, cancel))["changed"] == 601
        assert (await taskmill.get(before["id"]))["status"] == "canceled"
        await taskmill.reaches(later["id"], "completed")
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE kind = 'bulk' AND status <> 'completed'") == 0


async def test_canceled_it_stops(database_url: str, redis_url: str, sql: Connection) -> None:
    """What it has canceled stays canceled, and the rest as it is."""
    await sql.execute(FILL, 3_000, "pending")
    async with service(database_url, redis_url, **QUICK) as taskmill:
        consumer = await taskmill.start_consumer()
        async with sql.transaction():
            await sql.execute("SELECT FROM tasks ORDER BY id OFFSET 1500 LIMIT 1 FOR UPDATE")
            task = await _bulk(taskmill, "cancel", kind=["simulate"])
            await until(lambda: _is_waited_for(sql))
            canceled = await taskmill.client.patch(f"/task/{task['id']}/cancel")
            assert canceled.json()["status"] == "canceled"
            await consumer.wrote("handler stopped")
            await until(lambda: sql.fetchval("SELECT count(*) = 0 FROM pg_locks WHERE NOT granted"))
        left = await sql.fetchval("SELECT count(*) FROM tasks WHERE kind = 'simulate' AND status = 'pending'")
        assert 1_000 <= left <= 2_000
        consumer.signal(signal.SIGTERM)
        assert await consumer.exit_code() == 0
        assert left == await sql.fetchval("SELECT count(*) FROM tasks WHERE kind = 'simulate' AND status = 'pending'")


@pytest.mark.parametrize("place", ["task", "group", "then", "schedule"])
async def test_nobody_else_makes_a_bulk_task(live: Service, live_sql: Connection, place: str) -> None:
    """Its payload says whose tasks it may touch, so no client may write one."""
    task = {
        "kind": "bulk",
        "content": {
            "action": "cancel",
            "filter": {"kinds": ["simulate"]},
            "visible": {"is_all": True, "tenant": None},
            "dry_run": False,
        },
    }
    before = await live_sql.fetchval("SELECT count(*) FROM tasks")
    match place:
        case "task":
            answer = await live.client.post("/task", json=task)
        case "group":
            answer = await live.client.post("/group", json={"tasks": [{"content": 1}, task]})
        case "then":
            answer = await live.client.post("/group", json={"tasks": [{"content": 1}], "then": task})
        case _:
            answer = await live.client.put(f"/schedule/{uuid4()}", json={"cron": "* * * * *", **task})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].endswith("/kind")
    assert await live_sql.fetchval("SELECT count(*) FROM tasks") == before
