"""Idempotency keys at the statements: races, COMMITs without an answer, expiry."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from app.core.errors import KeyReusedError, RejectedRowError
from app.core.events import TasksCreated
from app.core.group import NewGroup
from app.core.idempotency import IdempotencyKey
from app.core.task import NewTask, Priority, Task
from app.db.engine import Database
from app.queue.create_group import GroupCreator
from app.queue.create_keyed import KeyedCreator
from app.queue.follow_up import FollowUp
from app.queue.idempotency import forget
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.integration.conftest import new_task, waiting_for_a_lock
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

DAY = timedelta(hours=24)


@pytest.fixture
async def behind_proxy(database_proxy: Proxy, redis_url: str) -> AsyncIterator[Database]:
    """A pool whose answers can be cut."""
    database = Database(quick_settings(database_proxy.url, redis_url).database_url, 2, 2)
    await database.fetch("SELECT 1")
    yield database
    await database.close()


def keyed(key: str, body: str = "a") -> NewTask:
    """A task to create with an Idempotency-Key."""
    idempotency = IdempotencyKey(sha256(key.encode()).digest(), sha256(body.encode()).digest())
    return replace(new_task(f'"{body}"'), idempotency=idempotency)


def creator_of(database: Database, wakeup: Wakeup, events: EventLog) -> KeyedCreator:
    """Creates, as the API does."""
    return KeyedCreator(database, wakeup, FollowUp(database, wakeup, events), events, DAY)


@pytest.fixture
def creator(database: Database, wakeup: Wakeup, events: EventLog) -> KeyedCreator:
    """Creates, as the API does."""
    return creator_of(database, wakeup, events)


def ids(results: Sequence[Task | Exception]) -> list[object]:
    """Of what was created; of what was not, the class of the error."""
    return [result.id if isinstance(result, Task) else type(result) for result in results]


async def test_the_first_of_a_batch_is_created(creator: KeyedCreator, sql: Connection, events: EventLog) -> None:
    """The others with its key get it too, or an error where they are another request; those without are their own."""
    batch = [new_task(), keyed("1"), keyed("1"), keyed("1", "b"), keyed("2"), new_task(), keyed("1")]
    results = await creator.create(batch)
    first = batch[1].id
    assert ids(results) == [batch[0].id, first, first, KeyReusedError, batch[4].id, batch[5].id, first]
    again = await creator.create([keyed("2"), new_task(), keyed("1"), keyed("2", "b")])
    assert ids(again) == [batch[4].id, again[1].id if isinstance(again[1], Task) else None, first, KeyReusedError]
    assert again[2] == results[1]
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 5
    assert [len(event.task_ids) for event in events.of(TasksCreated)] == [4, 1]  # so they are announced once


async def test_the_first_answer_comes_again_whatever_became_of_the_task(creator: KeyedCreator, sql: Connection) -> None:
    """Completed, and then pruned: the answer is what it was, with all that had been said of the task."""
    said: dict[str, Any] = {"priority": Priority.HIGH, "delay": timedelta(seconds=5), "tenant": "t", "max_attempts": 2}
    (first,) = await creator.create([replace(keyed("1"), **said)])
    for change in ("UPDATE tasks SET status = 'completed', updated_at = now(), version = 3", "DELETE FROM tasks"):
        await sql.execute(change)
        assert await creator.create([replace(keyed("1"), **said)]) == [first]
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 0


async def test_a_second_request_waits_for_the_first_ones_commit(
    creator: KeyedCreator, database: Database, sql: Connection
) -> None:
    """While the first is not committed nothing is known; then the second gets what the first has made."""
    first, second = keyed("1"), keyed("1")
    assert first.idempotency is not None
    async with sql.transaction():
        await sql.execute("INSERT INTO idempotency_keys VALUES ($1, $2, $3)", *first.idempotency, [first.id])
        creating = asyncio.create_task(creator.create([second]))
        await until(lambda: waiting_for_a_lock(database))
        assert not creating.done()
    assert ids(await creating) == [first.id]
    async with sql.transaction():  # one that comes to nothing leaves the way free
        other = keyed("2")
        assert other.idempotency is not None
        await sql.execute("INSERT INTO idempotency_keys VALUES ($1, $2, $3)", *other.idempotency, [other.id])
        third = keyed("2")
        creating = asyncio.create_task(creator.create([third]))
        await until(lambda: waiting_for_a_lock(database))
        await sql.execute("DELETE FROM idempotency_keys WHERE key = $1", other.idempotency.key)
    assert ids(await creating) == [third.id]


async def test_batches_in_any_order_do_not_deadlock(creator: KeyedCreator, sql: Connection) -> None:
    """Many batches with the same keys in opposite orders at the same time: each key makes one task."""
    batches = [[keyed(str(n)) for n in (range(100) if i % 2 else range(99, -1, -1))] for i in range(8)]
    results = await asyncio.gather(*(creator.insert_all(batch) for batch in batches))
    assert all(set(ids(result)) == set(ids(results[0])) for result in results)
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 100


async def test_a_commit_without_an_answer_is_the_first_answer(
    behind_proxy: Database, database_proxy: Proxy, wakeup: Wakeup, events: EventLog, sql: Connection
) -> None:
    """The statement commits and its answer is cut. Sent again, it finds its own ids: these were created."""
    for others in ([], [new_task()]):
        batch = [keyed(f"{len(others)}"), keyed(f"{len(others)} b"), *others]
        database_proxy.cut_reply_to(lambda data, cut=batch[0].id: cut.bytes in data)  # type: ignore[misc]
        results = await creator_of(behind_proxy, wakeup, events).create(batch)
        assert ids(results) == [task.id for task in batch]
        rows = await sql.fetch("SELECT id, created_at FROM tasks WHERE id = ANY($1)", [task.id for task in batch])
        assert {(task.id, task.created_at) for task in results if isinstance(task, Task)} == {*map(tuple, rows)}
        assert [task_id for event in events.of(TasksCreated)[-1:] for task_id in event.task_ids] == ids(results)
    assert database_proxy.replies_cut == 2


async def test_a_refused_row_leaves_no_key(creator: KeyedCreator, sql: Connection) -> None:
    """Whatever PostgreSQL refuses fails alone, and its key is as new."""
    batch = [keyed("1"), replace(keyed("2"), content="no JSON"), keyed("3")]
    assert ids(await creator.create(batch)) == [batch[0].id, RejectedRowError, batch[2].id]
    again = keyed("2", "b")
    assert ids(await creator.create([again])) == [again.id]
    assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 3


async def test_an_old_key_is_as_good_as_new(creator: KeyedCreator, sql: Connection) -> None:
    """After IDEMPOTENCY_HOURS, also with another body; and from then on it is kept as long again."""
    await creator.create([keyed("1")])
    await sql.execute("UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second'")
    second = keyed("1", "b")
    assert ids(await creator.create([second])) == [second.id]
    assert ids(await creator.create([keyed("1", "b"), keyed("1")])) == [second.id, KeyReusedError]


async def test_old_keys_are_forgotten(creator: KeyedCreator, database: Database, sql: Connection) -> None:
    """In small batches; one that is in use just now is passed over, and those that are young stay."""
    await sql.execute(
        "INSERT INTO idempotency_keys SELECT uuid_send(gen_random_uuid()), '', '{}', now() - interval '2 days'"
        " FROM generate_series(1, 2500)"
    )
    young = keyed("1")
    await creator.create([young])
    async with sql.transaction():
        await sql.execute("SELECT FROM idempotency_keys WHERE fingerprint = '' LIMIT 1 FOR UPDATE")
        assert not await forget(database, DAY, 0)  # there is no time for more than one batch
        assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 1501
        assert await forget(database, DAY, 60)
    assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 2
    assert await forget(database, DAY, 60)
    assert ids(await creator.create([keyed("1")])) == [young.id]


async def test_a_group_is_made_once(
    behind_proxy: Database, database_proxy: Proxy, wakeup: Wakeup, events: EventLog, sql: Connection
) -> None:
    """Also where the COMMIT's answer is lost; the same key again answers the group as it was, with all its ids."""
    creator = GroupCreator(behind_proxy, wakeup, FollowUp(behind_proxy, wakeup, events), events, DAY)

    def group(body: str = "a") -> NewGroup:
        group_id = uuid7()
        members = [NewTask(uuid7(), "simulate", '"CUT"', group_id=group_id) for _ in range(3)]
        then = NewTask(uuid7(), "simulate", "{}")
        return NewGroup(group_id, members, "cancel_rest", then, idempotency=keyed("1", body).idempotency)

    database_proxy.cut_reply_to(lambda data: b'"CUT"' in data)
    new = group()
    first, members = await creator.create(new)
    assert database_proxy.replies_cut == 1
    assert (first.id, list(members)) == (new.id, [task.id for task in new.members])
    await sql.execute("UPDATE tasks SET status = 'completed'")
    assert await creator.create(group()) == (first, members)
    with pytest.raises(KeyReusedError):
        await creator.create(group("b"))
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 3
    assert await sql.fetchval("SELECT count(*) FROM groups") == 1
