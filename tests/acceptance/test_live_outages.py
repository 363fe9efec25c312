"""Live while servers go away, and while the API process itself ends."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack

import pytest

from tests.acceptance.test_lines import begun, stream
from tests.support.processes import Service, service
from tests.support.proxy import EXECUTE, Proxy
from tests.support.sse import Event, Watch, watching
from tests.support.types import Connection
from tests.support.waiting import until

TOUCH = "UPDATE tasks SET version = version + 1, updated_at = clock_timestamp() WHERE id = $1"


async def _finishes(taskmill: Service, watch: Watch, task_id: str) -> float:
    """Cancel it; the seconds from the answer to its last event."""
    await taskmill.client.patch(f"/task/{task_id}/cancel")
    start = time.monotonic()
    assert (await watch.until_status("canceled")).id == "2"
    assert await watch.next() is None
    return time.monotonic() - start


@pytest.mark.parametrize("fault", ["stop", "freeze"])
async def test_events_come_without_redis(fault: str, database_url: str, redis_proxy: Proxy) -> None:
    """Within 1.5 s, whether it refuses or hangs, also of streams opened meanwhile; and at once when it is back."""
    async with service(database_url, redis_proxy.url) as taskmill, AsyncExitStack() as stack:
        tasks = [await taskmill.create() for _ in range(6)]

        async def watch(number: int) -> Watch:
            watch = await stack.enter_async_context(watching(taskmill, f"/task/{tasks[number]['id']}"))
            await watch.next()
            return watch

        watches = [await watch(number) for number in range(3)]
        await until(lambda: _is_quick(taskmill))
        assert await _finishes(taskmill, watches[0], tasks[0]["id"]) < 0.3
        if fault == "stop":
            await redis_proxy.stop()
        else:
            redis_proxy.freeze()
        assert await _finishes(taskmill, watches[1], tasks[1]["id"]) < 1.5
        assert await _finishes(taskmill, await watch(3), tasks[3]["id"]) < 1.5
        poll = asyncio.create_task(taskmill.client.get(f"/task/{tasks[4]['id']}?wait=20"))
        await asyncio.sleep(0.1)
        await taskmill.client.patch(f"/task/{tasks[4]['id']}/cancel")
        async with asyncio.timeout(1.5):
            assert (await poll).json()["status"] == "canceled"
        if fault == "stop":
            await redis_proxy.start()
        else:
            redis_proxy.thaw()
        await until(lambda: _is_quick(taskmill))
        assert await _finishes(taskmill, watches[2], tasks[2]["id"]) < 0.3


async def _is_quick(taskmill: Service) -> bool:
    """Whether changes are told at once, as by Redis: three, since the look of each second is quick by luck at times."""
    for _ in range(3):
        task = await taskmill.create()
        async with watching(taskmill, f"/task/{task['id']}") as watch:
            await watch.next()
            if await _finishes(taskmill, watch, task["id"]) > 0.2:
                return False
    return True


async def test_without_redis_one_statement_a_second_is_for_all(
    database_proxy: Proxy, redis_proxy: Proxy, sql: Connection
) -> None:
    """However many tasks and groups are watched; what nobody was told of is found by it."""
    async with service(database_proxy.url, redis_proxy.url) as taskmill, AsyncExitStack() as stack:
        tasks = [await taskmill.create() for _ in range(40)]
        body = {"tasks": [{"content": 1}] * 3}
        groups = [(await taskmill.client.post("/group", json=body)).json() for _ in range(30)]
        paths = [f"/task/{task['id']}" for task in tasks] + [f"/group/{group['id']}" for group in groups]
        watches = [await stack.enter_async_context(watching(taskmill, path)) for path in paths]
        for watch in watches:
            await watch.next()
        await redis_proxy.stop()
        await taskmill.processes[0].wrote("listening for changes")

        async def statements() -> int:
            return sum(request.count(EXECUTE) for request in database_proxy.requests)

        before = await statements()
        start = time.monotonic()
        await until(lambda: _is_at_least(statements(), before + 4))
        assert 2.5 < time.monotonic() - start < 5.5
        await sql.execute(TOUCH, tasks[7]["id"])
        await sql.execute(TOUCH, groups[7]["task_ids"][1])
        for watch, version in ((watches[7], "2"), (watches[47], "4")):
            event = await watch.next(2)
            assert event is not None
            assert event.id == version


async def _is_at_least(found: object, wanted: int) -> bool:
    return await found >= wanted  # type: ignore[misc,no-any-return]


async def test_a_message_that_is_lost_is_made_up_for(database_url: str, redis_url: str, sql: Connection) -> None:
    """Nobody is told of this change; a look finds it."""
    async with service(database_url, redis_url) as taskmill:
        task = await taskmill.create()
        async with watching(taskmill, f"/task/{task['id']}") as watch:
            await watch.next()
            await asyncio.sleep(4)  # until nothing speaks for a doubt
            await sql.execute(TOUCH, task["id"])
            event = await watch.next(6)
            assert event is not None
            assert event.id == "2"
            await sql.execute("DELETE FROM tasks")
            assert await watch.next(6) is None  # what is no more has no more events


@pytest.mark.parametrize("fault", ["stop", "freeze"])
async def test_streams_survive_postgresql(fault: str, database_proxy: Proxy, redis_url: str, sql: Connection) -> None:
    """While it is away nothing comes; what happens meanwhile is told when it is back. New streams get a 500."""
    async with service(database_proxy.url, redis_url) as taskmill:
        task = await taskmill.create()
        path = f"/task/{task['id']}"
        async with watching(taskmill, path) as watch:
            await watch.next()
            if fault == "stop":
                await database_proxy.stop()
            else:
                database_proxy.freeze()
            refused = await taskmill.client.get(f"{path}/events")
            assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (500, True)
            await sql.execute(TOUCH, task["id"])
            waiting = asyncio.create_task(watch.next(20))
            await asyncio.sleep(2)
            assert not waiting.done()
            if fault == "stop":
                await database_proxy.start()
            else:
                database_proxy.thaw()
            event = await waiting
            assert event is not None
            assert event.id == "2"
            await until(lambda: _is_ready(taskmill))
            assert await _finishes_at(taskmill, watch, task["id"]) < 1.5


async def _is_ready(taskmill: Service) -> bool:
    return (await taskmill.client.get("/readyz")).status_code == 200


async def _finishes_at(taskmill: Service, watch: Watch, task_id: str) -> float:
    await taskmill.client.patch(f"/task/{task_id}/cancel")
    start = time.monotonic()
    (last,) = await watch.rest()
    assert last.data["status"] == "canceled"
    return time.monotonic() - start


async def test_sigterm_ends_streams_and_long_polls(database_url: str, redis_url: str) -> None:
    """Streams end as streams do, long polls answer as things stand, and uploads are told how far they got.

    The process is gone within two seconds.
    """
    async with service(database_url, redis_url) as taskmill, AsyncExitStack() as stack:
        task = await taskmill.create()
        path = f"/task/{task['id']}"
        watches = [await stack.enter_async_context(watching(taskmill, path)) for _ in range(20)]
        firsts = [await watch.next() for watch in watches]
        assert all(isinstance(first, Event) for first in firsts)
        polls = [asyncio.create_task(taskmill.client.get(f"{path}?wait=60")) for _ in range(20)]
        lines = await stack.enter_async_context(stream(taskmill.url))
        await lines.send(b'{"content": 1}\n{"content":')
        await begun(lines)
        assert "task" in (await lines.answers(1))[0]
        await taskmill.reaches(task["id"], "pending")
        await asyncio.sleep(0.2)
        (api,) = taskmill.processes
        start = time.monotonic()
        api.signal(signal.SIGTERM)
        assert [await watch.next(1) for watch in watches] == [None] * 20
        for poll in polls:
            assert (await poll).json() == task
        (stopped,) = await lines.answers()
        assert (stopped["index"], stopped["error"]["status"]) == (1, 503)
        await api.exit_code(5)
        assert time.monotonic() - start < 2
        output = api.output()
        assert "Application shutdown complete" in output
        assert "Traceback" not in output
        assert "timeout graceful shutdown exceeded" not in output
