"""Every change is announced once, after its COMMIT, and versions count them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from uuid_utils.compat import uuid7

from app.core.config import Settings
from app.core.group import NewGroup
from app.core.task import NewTask, TaskStatus
from app.db.engine import Database
from app.queue.cancel import Canceler
from app.queue.cancel_group import GroupCanceler
from app.queue.changes import CHANNEL, SIZE, ids_in
from app.queue.create_group import GroupCreator
from app.queue.follow_up import FollowUp
from app.queue.read import read_tasks
from app.queue.read_group import read_groups
from app.queue.retry import Reopener
from app.queue.versions import read_versions
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.integration.conftest import creator
from tests.support.consuming import consuming
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


@asynccontextmanager
async def _heard(redis: Redis) -> AsyncIterator[list[bytes]]:
    """The messages so far."""
    messages: list[bytes] = []
    async with redis.pubsub() as subscription:
        await subscription.subscribe(CHANNEL)

        async def listen() -> None:
            while True:
                message = await subscription.get_message(timeout=60)
                if message is not None and message["type"] == "message":
                    messages.append(message["data"])

        listening = asyncio.create_task(listen())
        try:
            await until(lambda: _numsub(redis))
            yield messages
        finally:
            listening.cancel()


async def _numsub(redis: Redis) -> int:
    ((_, count),) = await redis.pubsub_numsub(CHANNEL)
    return int(count)


def _count(messages: list[bytes]) -> Counter[UUID]:
    return Counter(UUID(bytes=raw) for message in messages for raw in ids_in(message))


@pytest.fixture
def handlers(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with the tests' kinds, which child processes read from the environment."""
    modules = "tests.handlers.work,tests.handlers.groups"
    settings = quick_settings(database_url, redis_url, handler_modules=modules)
    for name, value in {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "HANDLER_MODULES": modules}.items():
        monkeypatch.setenv(name, value)
    return settings


async def test_each_change_is_announced_once(
    handlers: Settings, redis: Redis, database: Database, wakeup: Wakeup, sql: Connection
) -> None:
    """Claims, progress, checkpoints (also in a child process), retries, ends, cancels: as often as the version says."""
    events = EventLog()
    await sql.execute("CREATE TABLE numbers (n int)")
    follow_up = FollowUp(database, wakeup, events)
    group_id = uuid7()
    tasks = [
        NewTask(uuid7(), "step", '{"progress": 3, "seconds": 0.4}'),
        NewTask(uuid7(), "number_rows", '{"rows": 3, "step": 1}'),
        NewTask(uuid7(), "number_rows_in_child", '{"rows": 3, "step": 1}'),
        NewTask(uuid7(), "flaky", '{"failures": 1, "after": 0.1}'),
        NewTask(uuid7(), "sleep", '{"seconds": 60}'),
        NewTask(uuid7(), "hopeless", "{}"),
    ]
    members = [NewTask(uuid7(), "step", '{"progress": 3, "seconds": 0.4}', group_id=group_id) for _ in range(3)]
    async with _heard(redis) as messages:
        await creator(database, wakeup, events).create(tasks)
        await GroupCreator(database, wakeup, follow_up, events).create(NewGroup(group_id, members))
        ids = [task.id for task in (*tasks, *members)]
        async with consuming(handlers, events):

            async def all_but_one_have_ended() -> bool:
                found = await read_tasks(database, ids)
                return sum(task.finished_at is not None for task in found.values()) == len(ids) - 1

            await until(all_but_one_have_ended, 20)
            await Canceler(database, wakeup, follow_up, events).cancel([tasks[4].id])
        await Reopener(database, follow_up, events).reopen(tasks[5].id)
        await follow_up.drain()

        async def are_announced() -> bool:
            announced = _count(messages)
            versions = await read_versions(database, ids, [])
            return {task_id: version - 1 for task_id, version in versions.items()} == {i: announced[i] for i in ids}

        await until(are_announced, 3)
        versions = await read_versions(database, ids, [])
        assert [versions[task.id] for task in tasks] == [4, 6, 6, 5, 3, 4]
        assert 2 <= _count(messages)[group_id] <= 10  # of some members together, and its own end


async def test_many_changes_are_few_messages(wakeup: Wakeup, redis: Redis) -> None:
    """All ids, in a fraction of the messages; the first one does not wait."""
    ids = [uuid4() for _ in range(5_000)]
    async with _heard(redis) as messages:
        wakeup.announce_changed([ids[0]])
        await until(lambda: _has(messages, 1), 1, every=0.001)
        for task_id in ids[1:]:
            wakeup.announce_changed([task_id])
            if task_id.int % 50 == 0:
                await asyncio.sleep(0.001)
        await until(lambda: _has(messages, len(ids)), 2)
        assert _count(messages) == Counter(ids)
        assert len(messages) < 100


async def _has(messages: list[bytes], count: int) -> bool:
    return sum(map(len, messages)) == SIZE * count


async def test_changes_without_redis_cost_nobody_anything(redis_proxy: Proxy, events: EventLog) -> None:
    """They are forgotten."""
    wakeup = Wakeup(redis_proxy.url, events)
    await redis_proxy.stop()
    for _ in range(1_000):
        wakeup.announce_changed([uuid4()])
    async with asyncio.timeout(2):
        await wakeup.close()


async def test_the_version_of_a_group_counts_its_changes(
    database: Database, wakeup: Wakeup, events: EventLog, sql: Connection
) -> None:
    """It goes up with every change and never down, also where a member is deleted; and one statement reads all."""
    group_id = uuid7()
    members = [NewTask(uuid7(), "simulate", "1", group_id=group_id) for _ in range(3)]
    follow_up = FollowUp(database, wakeup, events)
    made, _ = await GroupCreator(database, wakeup, follow_up, events).create(NewGroup(group_id, members))
    version = made.version
    assert version == 3

    async def goes_up(by: int | None = None) -> None:
        nonlocal version
        found = (await read_groups(database, [group_id]))[group_id].version
        assert await read_versions(database, [members[1].id], [group_id, uuid7()]) | {group_id: 0} == (
            {members[1].id: (await read_tasks(database, [members[1].id]))[members[1].id].version, group_id: 0}
        )
        assert (await read_versions(database, [], [group_id]))[group_id] == found
        assert found == version + by if by else found > version
        version = found

    canceler = Canceler(database, wakeup, follow_up, events)
    await canceler.cancel([members[0].id])
    await follow_up.drain()
    await goes_up(1)
    await sql.execute("DELETE FROM tasks WHERE id = $1", members[0].id)
    await goes_up()
    await sql.execute("UPDATE tasks SET version = version + 1 WHERE id = $1", members[1].id)
    await goes_up(1)
    group: Any = await GroupCanceler(database, follow_up, events).cancel(group_id)
    assert group.ended_at is not None
    await goes_up(2 + 1 + 1)  # two members, its cancel, and its end
    found = await read_tasks(database, [task.id for task in members[1:]])
    assert {task.status for task in found.values()} == {TaskStatus.CANCELED}
