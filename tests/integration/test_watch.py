"""Who watches what: places, tenants, and how often a group is counted."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.types import Message, Scope

import app.api.stream
from app.api.caller import CALLER
from app.api.errors import ProblemError
from app.api.group_api import GroupApi
from app.api.services import Services
from app.api.stream import Stream, send_stream
from app.api.task_api import TaskApi
from app.api.watch import State, Subject, Topic
from app.core.caller import EVERYBODY, Caller, Role
from app.core.config import Settings
from app.core.errors import DatabaseUnavailableError
from app.core.group import NewGroup
from app.core.task import NewTask
from app.db.engine import Database
from app.queue.create_group import GroupCreator
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup
from tests.integration.conftest import Insert, creator
from tests.support.services import services_of
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


@pytest.fixture
async def services(settings: Settings, database: Database, wakeup: Wakeup, events: EventLog) -> AsyncIterator[Services]:
    """What the calls work with; two places for each caller."""
    services = services_of(settings.model_copy(update={"max_streams": 2}), database, wakeup, events)
    yield services
    await services.hub.close()


def _asks(name: str, asked: UUID, caller: Caller, query: bytes = b"") -> Scope:
    scope = {"type": "http", "path_params": {f"{name}_id": str(asked)}, "headers": [], "query_string": query}
    return scope | {CALLER: caller}


async def _stays() -> Message:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def test_only_its_own_tenant_and_admins_see_it(
    services: Services, database: Database, wakeup: Wakeup, events: EventLog, follow_up: FollowUp
) -> None:
    """To anybody else it is not there: to streams and long polls as to GET."""
    task, group_id = NewTask(uuid4(), "simulate", "1", tenant="a"), uuid4()
    await creator(database, wakeup, events).create([task])
    member = NewTask(uuid4(), "simulate", "1", group_id=group_id, tenant="a")
    await GroupCreator(database, wakeup, follow_up, events).create(NewGroup(group_id, [member], tenant="a"))
    for api, name, asked in ((TaskApi(services), "task", task.id), (GroupApi(services), "group", group_id)):
        for stranger in (Caller("x", Role.WRITE, "b"), Caller("y", Role.READ, None)):
            for call in (api.get, api.events):
                with pytest.raises(ProblemError) as refused:
                    await call(_asks(name, asked, stranger, b"wait=20"), _stays)
                assert refused.value.status == 404
        for friend in (Caller("z", Role.READ, "a"), Caller("w", Role.ADMIN, None)):
            stream = await api.events(_asks(name, asked, friend), _stays)
            assert isinstance(stream, Stream)
            assert str(asked).encode() in (await stream.next() or b"")
            stream.close()


async def test_each_caller_has_places_of_its_own(services: Services, database: Database, wakeup: Wakeup) -> None:
    """Who has used up all of them is refused until one is free; others are not."""
    task = NewTask(uuid4(), "simulate", "1")
    await creator(database, wakeup, EventLog()).create([task])
    api = TaskApi(services)
    one, other = Caller("one", Role.ADMIN, None), Caller("other", Role.ADMIN, None)
    streams: list[Any] = [await api.events(_asks("task", task.id, one), _stays) for _ in range(2)]
    with pytest.raises(ProblemError) as refused:
        await api.events(_asks("task", task.id, one), _stays)
    assert refused.value.status == 429
    (await api.events(_asks("task", task.id, other), _stays)).close()  # type: ignore[union-attr]
    streams[0].close()
    streams.append(await api.events(_asks("task", task.id, one), _stays))
    for stream in streams:
        stream.close()
        stream.close()  # which changes nothing
        assert await stream.next() is not None  # the first event, which was there already
        assert await stream.next() is None


async def test_what_changes_between_the_read_and_the_watch_is_told(
    services: Services, database: Database, wakeup: Wakeup, sql: Connection
) -> None:
    """Nobody announces it; also where the process listens already."""
    tasks = [NewTask(uuid4(), "simulate", "1") for _ in range(2)]
    await creator(database, wakeup, EventLog()).create(tasks)
    reader = services.reader
    subject = Subject("task", reader.find, reader.read, lambda task: State(task.version, has_ended=False, body=b"{}"))
    hub = services.hub
    with hub.watch("", subject, tasks[0].id, State(1, has_ended=False, body=b"")) as first:
        await until(lambda: _true(hub._is_listening))
        await sql.execute("UPDATE tasks SET version = 7")
        with hub.watch("", subject, tasks[1].id, State(1, has_ended=False, body=b"")) as second:
            assert (await second.next(1)) == State(1, has_ended=False, body=b"")
            assert (await second.next(0.5)) == State(7, has_ended=False, body=b"{}")
        assert first is not second


async def test_a_hub_ends_its_subscription_whenever_it_is_closed(services: Services, wakeup: Wakeup) -> None:
    """Also in the middle of its first command, which redis-py sends in a way that can lose a cancel."""
    reader = services.reader
    subject = Subject("task", reader.find, reader.read, lambda task: State(task.version, has_ended=False, body=b"{}"))
    for number in range(300):
        hub = services_of(services.settings, services.database, wakeup, EventLog()).hub
        with hub.watch("", subject, uuid4(), State(1, has_ended=False, body=b"")):
            for _ in range(number % 30):
                await asyncio.sleep(0.0001 * random.random())
        async with asyncio.timeout(5):
            await hub.close()


async def _true(fact: bool) -> bool:  # noqa: FBT001 - a fact to wait for
    return fact


async def test_a_group_is_counted_five_times_a_second_however_often_it_changes() -> None:
    """And once more after the last change; versions only go forward; a read that fails is made up for by a look."""
    reads: list[float] = []
    troubles: list[BaseException] = []
    version = 10
    loop = asyncio.get_running_loop()

    def read(_: UUID) -> "asyncio.Future[int | None]":
        reads.append(loop.time())
        future: asyncio.Future[int | None] = loop.create_future()
        if version == 0:
            loop.call_soon(future.set_exception, DatabaseUnavailableError("away"))
        else:
            loop.call_soon(future.set_result, version)
        return future

    async def find(_: Scope) -> int:
        raise AssertionError("nobody asks")

    subject = Subject("group", find, read, lambda n: State(n, has_ended=False, body=b""), is_group=True, pause=0.2)
    topic = Topic(subject, uuid4(), troubles.append)

    class Heard:
        states: list[int]
        is_over = False

        def tell(self, state: State) -> None:
            self.states.append(state.version)

    heard: Any = Heard()
    heard.states = []
    topic.watchers.add(heard)
    end = loop.time() + 1.1
    while loop.time() < end:
        version += 1
        topic.refresh()
        await asyncio.sleep(0.001)
    last = version
    await until(lambda: _true(heard.states[-1] == last), 1)
    assert 5 <= len(reads) <= 8
    assert heard.states == sorted(set(heard.states))
    await asyncio.sleep(0.25)
    version = 5  # from a snapshot that is older
    topic.refresh()
    await asyncio.sleep(0.25)
    version = 0
    topic.refresh()
    await until(lambda: _true(len(troubles) == 1), 1)
    assert heard.states[-1] == last


async def test_a_stream_that_nobody_reads_gives_its_place_back(
    services: Services, insert: Insert, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is there and reads nothing holds no stream for ever."""
    monkeypatch.setattr(app.api.stream, "SEND_SECONDS", 0.1)
    tasks = TaskApi(services)
    (task_id,) = await insert(1)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    for _ in range(3):  # there are two places
        events = await tasks.events(_asks("task", task_id, EVERYBODY), _stays)
        assert isinstance(events, Stream)
        async with asyncio.timeout(5):
            await send_stream(events, _stays, send)
