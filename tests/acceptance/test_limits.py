"""What one process holds, and what an idle one costs."""

import asyncio
import re
from pathlib import Path

from tests.support.processes import service
from tests.support.proxy import EXECUTE, Proxy
from tests.support.types import Connection
from tests.support.waiting import until


async def test_one_consumer_holds_10_000_sleepers_under_250_mb(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """All of them processing at once, by peak resident memory."""
    await sql.execute(
        "INSERT INTO tasks (id, kind, content)"
        " SELECT gen_random_uuid(), 'simulate', '{\"simulate_seconds\": 600}' FROM generate_series(1, 10000)"
    )
    async with service(database_url, redis_url, consumer_concurrency=10_000, drain_seconds=0) as taskmill:
        consumer = await taskmill.start_consumer(log_level="info")

        async def all_run() -> bool:
            return bool(await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'processing'") == 10_000)

        await until(all_run, 60)
        task_id = await sql.fetchval("SELECT id FROM tasks LIMIT 1")
        assert (await taskmill.client.patch(f"/task/{task_id}/cancel")).status_code == 200
        assert _peak_kb(consumer.pid) < 250_000


async def test_an_idle_consumer_asks_at_most_3_statements_a_second(database_proxy: Proxy, redis_url: str) -> None:
    """Counted on the wire, over 10 s; the API beside it asks nothing."""
    async with service(database_proxy.url, redis_url) as taskmill:
        await taskmill.start_consumer()
        await until(lambda: _has_asked(database_proxy, b"WITH RECURSIVE holder"))  # the last of a start's statements
        database_proxy.requests.clear()
        await asyncio.sleep(10)
        executions = sum(request.count(EXECUTE) for request in database_proxy.requests)
        assert 10 < executions <= 30


async def _has_asked(proxy: Proxy, statement: bytes) -> bool:
    return any(statement in request for request in proxy.requests)


def _peak_kb(pid: int) -> int:
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert peak is not None
    return int(peak[1])
