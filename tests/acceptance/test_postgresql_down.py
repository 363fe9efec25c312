"""PostgreSQL away: clear answers, nothing false, and no restart needed."""

import asyncio
import time

import pytest

from tests.support.processes import service
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import until


@pytest.mark.parametrize("fault", ["stop", "freeze"])
async def test_postgresql_goes_and_comes_back(
    fault: str, database_proxy: Proxy, redis_url: str, sql: Connection
) -> None:
    """500 with Retry-After within 5 s, not ready but healthy; then the same processes go on, and every 201 holds."""
    async with service(database_proxy.url, redis_url, simulate_seconds=0) as taskmill:
        consumer = await taskmill.start_consumer()
        kept = [await taskmill.create()]
        if fault == "stop":
            await database_proxy.stop()
        else:
            database_proxy.freeze()
        start = time.monotonic()
        answers = await asyncio.gather(
            *(taskmill.client.post("/task", json={"content": n}) for n in range(20)),
            taskmill.client.get(f"/task/{kept[0]['id']}"),
            taskmill.client.patch(f"/task/{kept[0]['id']}/cancel"),
        )
        assert time.monotonic() - start < 5
        for answer in answers:
            assert answer.status_code == 500
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) > 0
        not_ready = await taskmill.client.get("/readyz")
        assert not_ready.status_code == 503
        assert not_ready.json()["checks"]["postgresql"][0]["status"] == "fail"
        assert (await taskmill.client.get("/health")).status_code == 200
        if fault == "stop":
            await database_proxy.start()
        else:
            database_proxy.thaw()

        async def is_ready() -> bool:
            return (await taskmill.client.get("/readyz")).status_code == 200

        await until(is_ready)
        kept.append(await taskmill.create())
        for task in kept:
            await taskmill.reaches(task["id"], "completed")
        assert consumer.exit is None
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE status <> 'completed'") == 0


async def test_creates_during_crashes_are_never_falsely_accepted(
    database_proxy: Proxy, redis_url: str, sql: Connection
) -> None:
    """Connections break under load, again and again: what was answered with 201 is there, once."""
    async with service(database_proxy.url, redis_url) as taskmill:
        accepted: list[str] = []
        stopping = asyncio.Event()

        async def client() -> None:
            while not stopping.is_set():
                answer = await taskmill.client.post("/task", json={"content": "x"})
                assert answer.status_code in {201, 500}
                if answer.status_code == 201:
                    accepted.append(answer.json()["id"])

        clients = [asyncio.create_task(client()) for _ in range(10)]
        for _ in range(5):
            before = len(accepted)
            await until(lambda before=before: _is_longer(accepted, before + 50))  # type: ignore[misc]
            await database_proxy.stop()
            await database_proxy.start()
        stopping.set()
        await asyncio.gather(*clients)
        rows = [str(row[0]) for row in await sql.fetch("SELECT id FROM tasks")]
        assert len(accepted) == len(set(accepted))
        assert set(accepted) <= set(rows)


async def _is_longer(items: list[str], length: int) -> bool:
    return len(items) > length


async def test_a_consumer_waits_for_postgresql_to_start(database_proxy: Proxy, redis_url: str) -> None:
    """Started first, as Supervisor may: it waits, and goes to work."""
    async with service(database_proxy.url, redis_url, simulate_seconds=0) as taskmill:
        await database_proxy.stop()
        starting = asyncio.create_task(taskmill.start_consumer())
        await until(lambda: _has_said(taskmill.processes[-1].output, "postgresql does not answer while starting"))
        await database_proxy.start()
        await starting
        task = await taskmill.create()
        await taskmill.reaches(task["id"], "completed")


async def _has_said(output: object, text: str) -> bool:
    assert callable(output)
    return text in output()
