"""The Python client against the live service: both of its classes, by the same tests."""

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskmill_client import (
    ApiError,
    AsyncTaskmill,
    Counts,
    NotFoundError,
    Task,
    Taskmill,
    UnreachableError,
    WaitTimeoutError,
)
from tests.support.processes import Service, service
from tests.support.proxy import Proxy
from tests.support.servers import Servers
from tests.support.types import Connection
from tests.support.waiting import until


class Caller:
    """Has either client do something; iterators come as lists."""

    def __init__(self, client: Taskmill | AsyncTaskmill) -> None:
        self.client = client

    async def __call__(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call the method."""
        call = getattr(self.client, method)
        if isinstance(self.client, Taskmill):
            return await asyncio.to_thread(_in_full, call, *arguments, **named)
        found = call(*arguments, **named)
        return await found if inspect.isawaitable(found) else [item async for item in found]


def _in_full(call: Any, *arguments: Any, **named: Any) -> Any:
    found = call(*arguments, **named)
    return list(found) if isinstance(found, Iterator) else found


@pytest.fixture(scope="module")
async def running(servers: Servers, live_database_url: str) -> AsyncIterator[Service]:
    """An API and a consumer."""
    async with service(
        live_database_url, servers.redis_url, simulate_seconds=0.2, handler_modules="tests.handlers.work"
    ) as taskmill:
        await taskmill.start_consumer()
        yield taskmill


@pytest.fixture
async def proxy(running: Service) -> AsyncIterator[Proxy]:
    """The service behind a proxy."""
    proxy = Proxy(running.url)
    await proxy.start()
    yield proxy
    with suppress(AssertionError):
        await proxy.stop()


@pytest.fixture(params=[Taskmill, AsyncTaskmill])
async def do(request: pytest.FixtureRequest, proxy: Proxy) -> AsyncIterator[Caller]:
    """A client of the service behind the proxy."""
    client = request.param(proxy.url)
    yield Caller(client)
    await Caller(client)("close")


async def test_the_life_of_a_task(do: Caller) -> None:
    """Create, get, wait."""
    created = await do("create", {"order": "\u2028é\r\n"}, priority="high", max_attempts=2)
    assert isinstance(created, Task)
    assert (created.status, created.content, created.priority) == ("pending", {"order": "\u2028é\r\n"}, "high")
    assert (await do("get", created.id)).id == created.id
    ended = await do("wait", created.id, timeout=10)
    assert (ended.status, ended.has_ended) == ("completed", True)
    assert ended.created_at == created.created_at
    assert ended.finished_at > ended.started_at >= ended.created_at


async def test_what_is_wrong_is_an_error(do: Caller) -> None:
    """With what the service says of it."""
    with pytest.raises(NotFoundError):
        await do("get", "x")
    with pytest.raises(ApiError) as caught:
        await do("create", "x", priority="urgent")
    assert caught.value.status == 422
    assert caught.value.errors[0][0] == "/priority"
    task = await do("create", "x")
    await do("wait", task.id, timeout=10)
    with pytest.raises(ApiError) as caught:
        await do("cancel", task.id)
    assert (caught.value.status, caught.value.detail) == (400, "The task is already completed; it can't be canceled.")


async def test_waiting_ends_in_time(do: Caller) -> None:
    """With the task as it stood."""
    task = await do("create", "x", run_at=datetime.now(UTC) + timedelta(hours=1))
    start = asyncio.get_running_loop().time()
    with pytest.raises(WaitTimeoutError, match="is still pending") as caught:
        await do("wait", task.id, timeout=1.3)
    assert 1.3 <= asyncio.get_running_loop().time() - start < 3
    assert caught.value.state.id == task.id
    canceled = await do("cancel", task.id)
    assert canceled.status == "canceled"
    assert (await do("wait", task.id)).status == "canceled"


async def test_failed_tasks_are_retried(do: Caller) -> None:
    """With their errors as they were."""
    task = await do("create", {"failures": 2}, kind="flaky", max_attempts=1)
    failed = await do("wait", task.id, timeout=10)
    assert (failed.status, failed.error.code) == ("failed", "handler_error")
    again = await do("retry", task.id)
    assert again.status in {"pending", "processing"}
    failed = await do("wait", task.id, timeout=10)
    assert [error.attempt for error in failed.history] == [1]
    with pytest.raises(ApiError) as caught:
        await do("retry", (await do("create", "x", delay_seconds=60)).id)
    assert caught.value.status == 409


async def test_groups(do: Caller) -> None:
    """Create, get, wait, cancel."""
    tasks = [{"content": number} for number in range(3)]
    group = await do("create_group", tasks, then={"kind": "simulate"}, on_failure="cancel_rest")
    assert len(group.task_ids) == group.total == 3
    assert (await do("get_group", group.id)).on_failure == "cancel_rest"
    ended = await do("wait_group", group.id, timeout=10)
    assert (ended.status, ended.counts) == ("ended", Counts(completed=3))
    then = await do("wait", ended.then_task_id, timeout=10)
    assert then.content["group"]["completed"] == 3
    open_group = await do("create_group", ({"content": 1, "delay_seconds": 60} for _ in range(2)))
    with pytest.raises(WaitTimeoutError):
        await do("wait_group", open_group.id, timeout=0)
    assert (await do("cancel_group", open_group.id)).counts.canceled == 2
    with pytest.raises(ApiError):
        await do("create_group", [])


async def test_a_lost_answer_makes_no_second_task(do: Caller, proxy: Proxy, live_sql: Connection) -> None:
    """The request reaches the service, its answer does not come back: the client asks again, with the same key."""
    proxy.cut_reply_to(lambda data: data.startswith(b"POST /task"))
    task = await do("create", {"cut": str(id(do))})
    assert proxy.replies_cut == 1
    proxy.cut_reply_to(lambda data: data.startswith(b"POST /task/batch"))
    (made,) = await do("batch", [{"content": {"cut": str(id(do))}}])
    proxy.cut_reply_to(lambda data: data.startswith(b"POST /group"))
    group = await do("create_group", [{"content": {"cut": str(id(do))}}])
    assert proxy.replies_cut == 3
    rows = await live_sql.fetch("SELECT id FROM tasks WHERE content->>'cut' = $1", str(id(do)))
    assert {str(row["id"]) for row in rows} == {task.id, made.id, *group.task_ids}


async def test_a_service_that_starts_again_is_waited_for(do: Caller, proxy: Proxy) -> None:
    """And one that stays away is an error, at last."""
    await proxy.stop()
    creating = asyncio.create_task(do("create", "x"))
    done, _ = await asyncio.wait([creating], timeout=0.3)
    assert not done
    await proxy.start()
    assert (await creating).status == "pending"
    await proxy.stop()
    do.client._retries = 2
    with pytest.raises(UnreachableError):
        await do("get", (await creating).id)


async def test_a_batch(do: Caller) -> None:
    """Any number of tasks; what is wrong with one concerns no other."""
    tasks: list[dict[str, Any]] = [{"content": number, "delay_seconds": 60} for number in range(1_200)]
    tasks[3] = {"content": 3, "priority": "urgent"}
    results = await do("batch", tasks)
    assert [result.content if isinstance(result, Task) else result.status for result in results] == [
        *range(3),
        422,
        *range(4, 1_200),
    ]
    assert results[3].errors[0][0] == "/priority"


async def test_a_list(do: Caller) -> None:
    """Of all pages, by filters."""
    mark = str(id(do))
    made = await do("batch", [{"content": {"mark": mark, "n": n}, "delay_seconds": 60} for n in range(250)])
    canceled = await do("cancel", made[0].id)
    before = {"created_before": canceled.updated_at + timedelta(seconds=1), "content": {"mark": mark}}
    assert [task.id for task in await do("list", **before)] == [task.id for task in reversed(made)]
    assert [task.id for task in await do("list", status=["canceled", "failed"], kind="simulate", **before)] == [
        canceled.id
    ]
    with pytest.raises(ApiError):
        await do("list", status="done")


async def test_events(do: Caller, proxy: Proxy) -> None:
    """Each change, to the end, over a connection that breaks; of an ended task its last state."""
    task = await do("create", {"line": "\u2028\x85"}, delay_seconds=1)
    watching = asyncio.create_task(do("events", task.id))

    async def is_watching() -> bool:
        return any(b"/events" in request for request in proxy.requests)

    await until(is_watching)
    await proxy.stop()
    await proxy.start()
    states = await watching
    assert states[0].status == "pending"
    assert states[-1].status == "completed"
    assert states[-1].content == {"line": "\u2028\x85"}
    versions = [state.version for state in states]
    assert versions == sorted(set(versions))
    assert [state.status for state in await do("events", task.id)] == ["completed"]
    group = await do("create_group", [{"content": 1}])
    assert (await do("group_events", group.id))[-1].counts.completed == 1
    with pytest.raises(NotFoundError):
        await do("events", "x")


async def test_the_readme_works(running: Service) -> None:
    """As it stands."""
    readme = (Path(__file__).parents[2] / "clients" / "python" / "README.md").read_text()
    code = readme.partition("```python\n")[2].partition("```")[0].replace("http://localhost:8000", running.url)
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={"PYTHONPATH": "clients/python"}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await done.communicate()
    assert done.returncode == 0
    assert "completed" in output.decode()
    assert "Counts(pending=0, processing=0, completed=3, failed=0, canceled=0)" in output.decode()
