"""The contract, by a client of real processes."""

import asyncio
import re
from uuid import UUID

import pytest

from tests.support.processes import service
from tests.support.types import Connection

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
UNKNOWN = "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"


async def test_a_task_goes_from_pending_to_completed(database_url: str, redis_url: str) -> None:
    """The main job: accepted, run, completed after SIMULATE_SECONDS."""
    async with service(database_url, redis_url, simulate_seconds=0.5) as taskmill:
        created = await taskmill.create("hello")
        assert created["status"] == "pending"
        assert created["content"] == "hello"
        assert created["updated_at"] is None
        assert TIME.fullmatch(created["created_at"])
        assert await taskmill.get(created["id"]) == created
        await taskmill.start_consumer()
        await taskmill.reaches(created["id"], "processing")
        assert await taskmill.reaches(created["id"], "completed") > 0.3
        ended = await taskmill.get(created["id"])
        assert TIME.fullmatch(ended["updated_at"])
        assert TIME.fullmatch(ended["started_at"])
        assert TIME.fullmatch(ended["finished_at"])
        assert ended["attempt"] == 1
        assert ended["version"] == 3
        unchanged = {"status": "pending", "updated_at": None, "started_at": None, "finished_at": None}
        assert ended | unchanged | {"attempt": 0, "version": 1} == created
        late = await taskmill.client.patch(f"/task/{created['id']}/cancel")
        assert late.status_code == 400
        assert late.headers["content-type"] == "application/problem+json"
        assert (await taskmill.get(created["id"]))["status"] == "completed"


async def test_a_pending_task_can_be_canceled_and_never_runs(database_url: str, redis_url: str) -> None:
    """Cancel answers 200, again as well; the task is canceled for ever."""
    async with service(database_url, redis_url, simulate_seconds=0) as taskmill:
        task = await taskmill.create()
        first = await taskmill.client.patch(f"/task/{task['id']}/cancel")
        again = await taskmill.client.patch(f"/task/{task['id']}/cancel")
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.json()["status"] == "canceled"
        assert first.json() == again.json()
        await taskmill.start_consumer()
        other = await taskmill.create()
        await taskmill.reaches(other["id"], "completed")
        assert await taskmill.get(task["id"]) == first.json()


async def test_a_running_task_can_be_canceled(database_url: str, redis_url: str) -> None:
    """The handler stops; its slot is free again at once."""
    async with service(database_url, redis_url, simulate_seconds=60, consumer_concurrency=1) as taskmill:
        await taskmill.start_consumer()
        task = await taskmill.create()
        await taskmill.reaches(task["id"], "processing")
        answer = await taskmill.client.patch(f"/task/{task['id']}/cancel")
        assert answer.json()["status"] == "canceled"
        following = await taskmill.create()
        await taskmill.reaches(following["id"], "processing", seconds=2)


@pytest.mark.parametrize("task_id", [UNKNOWN, "1", "x", "%00", "a" * 5000, UNKNOWN.replace("-", ""), "é"])
async def test_what_is_no_task_is_404(database_url: str, redis_url: str, task_id: str) -> None:
    """An id that is not a UUID is simply not found."""
    async with service(database_url, redis_url) as taskmill:
        for answer in (
            await taskmill.client.get(f"/task/{task_id}"),
            await taskmill.client.patch(f"/task/{task_id}/cancel"),
        ):
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"


async def test_health(database_url: str, redis_url: str) -> None:
    """The three health calls of a service that is well."""
    async with service(database_url, redis_url) as taskmill:
        assert (await taskmill.client.get("/health")).json() == {"status": "ok"}
        assert (await taskmill.client.get("/livez")).json() == {"status": "ok"}
        for path in ("/health", "/readyz"):
            head = await taskmill.client.head(path)
            assert (head.status_code, head.content) == (200, b"")
        ready = await taskmill.client.get("/readyz")
        assert ready.status_code == 200
        assert ready.headers["content-type"] == "application/health+json"
        assert ready.json()["status"] == "pass"


async def test_a_cancel_waits_for_nobody_elses_task(database_url: str, redis_url: str, sql: Connection) -> None:
    """Somebody holds one task's row, as a consumer that was frozen before its COMMIT: only that one's cancel waits."""
    async with service(database_url, redis_url) as taskmill:
        held, free = [(await taskmill.create())["id"] for _ in range(2)]
        async with sql.transaction():
            await sql.execute("SELECT FROM tasks WHERE id = $1 FOR UPDATE", UUID(held))
            waiting = asyncio.create_task(taskmill.client.patch(f"/task/{held}/cancel"))
            assert (await taskmill.client.patch(f"/task/{free}/cancel")).json()["status"] == "canceled"
            assert not waiting.done()
        assert (await waiting).json()["status"] == "canceled"


async def test_a_cancel_that_can_not_be_made_in_time_says_so_of_its_own_task_alone(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """429: it is not canceled. Those that came with it are, and it is the next time."""
    async with service(database_url, redis_url) as taskmill:
        held, *free = [(await taskmill.create())["id"] for _ in range(20)]
        async with sql.transaction():
            await sql.execute("SELECT FROM tasks WHERE id = $1 FOR UPDATE", UUID(held))
            answers = await asyncio.gather(*(taskmill.client.patch(f"/task/{id_}/cancel") for id_ in [held, *free]))
        assert [answer.status_code for answer in answers] == [429] + [200] * 19
        assert answers[0].headers["Retry-After"] == "2"
        again = await taskmill.client.patch(f"/task/{held}/cancel")
        assert again.json()["status"] == "canceled"
