"""Creation: batches, the retry of a COMMIT without an answer, and rows that PostgreSQL refuses."""

import asyncio

import pytest
from redis.asyncio import Redis

from app.core.errors import DatabaseUnavailableError, RejectedRowError
from app.core.events import TasksCreated
from app.core.task import NewTask, Task
from app.db.engine import Database
from app.queue.wakeup import Wakeup
from app.utils.batcher import Batcher
from tests.integration.conftest import LIST, creator, new_task
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


async def test_creates_that_arrive_together_share_transactions(
    database: Database, wakeup: Wakeup, events: EventLog, sql: Connection
) -> None:
    """200 at once are one transaction for what starts at once: rows of one transaction share xmin."""
    batcher: Batcher[NewTask, Task] = Batcher(creator(database, wakeup, events).create, 500)
    tasks = await asyncio.gather(*(batcher.submit(new_task()) for _ in range(200)))
    assert len({task.id for task in tasks}) == 200
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 200
    assert await sql.fetchval("SELECT count(DISTINCT xmin::text) FROM tasks") <= 2


async def test_ids_are_pushed_after_the_commit(
    database: Database, wakeup: Wakeup, events: EventLog, redis: Redis, sql: Connection
) -> None:
    """While the row waits for a lock, no id is in Redis; then it is, once."""
    task = new_task()
    async with sql.transaction():
        await sql.execute("LOCK TABLE tasks IN SHARE MODE")
        creating = asyncio.create_task(creator(database, wakeup, events).create([task]))
        await until(lambda: sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        assert await redis.llen(LIST) == 0
    await creating
    await until(lambda: redis.llen(LIST))
    assert await redis.lrange(LIST, 0, -1) == [str(task.id).encode()]
    assert events.of(TasksCreated)[0].task_ids == [task.id]


async def test_a_commit_without_an_answer_is_sent_again(
    database_proxy: Proxy, wakeup: Wakeup, events: EventLog, sql: Connection
) -> None:
    """The first INSERT commits and its answer is cut; the client gets the row that is there, once."""
    database = Database("postgresql+asyncpg://" + database_proxy.url.partition("://")[2], 2, 2)
    try:
        await database.fetch("SELECT 1")
        tasks = [new_task(), new_task()]
        # The statement is prepared first; its execution is the message that carries the ids.
        database_proxy.cut_reply_to(lambda data: tasks[0].id.bytes in data)
        created = await creator(database, wakeup, events).create(tasks)
        assert database_proxy.replies_cut == 1
        rows = await sql.fetch("SELECT id, created_at FROM tasks ORDER BY id")
        assert [(t.id, t.created_at) for t in created if isinstance(t, Task)] == [tuple(row) for row in rows]
        assert len(rows) == 2
    finally:
        await database.close()


async def test_only_the_refused_row_fails(
    database: Database, wakeup: Wakeup, events: EventLog, sql: Connection
) -> None:
    """Whatever slips through our checks and PostgreSQL refuses fails alone; its neighbours are created."""
    batch = [new_task() for _ in range(9)]
    batch[4] = new_task("no JSON")
    results = await creator(database, wakeup, events).create(batch)
    assert [isinstance(result, RejectedRowError) for result in results] == [i == 4 for i in range(9)]
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 8


async def test_without_postgresql_creating_gives_up_in_time(
    database_proxy: Proxy, wakeup: Wakeup, events: EventLog
) -> None:
    """Refused connections and a server that does not answer both end in an error within 5 seconds."""
    database = Database("postgresql+asyncpg://" + database_proxy.url.partition("://")[2], 2, 2)
    try:
        await database.fetch("SELECT 1")
        for fail in (database_proxy.freeze, database_proxy.stop):
            failing = fail()
            if failing is not None:
                await failing
            async with asyncio.timeout(5):
                with pytest.raises(DatabaseUnavailableError):
                    await creator(database, wakeup, events).create([new_task()])
        await database_proxy.start()
        assert isinstance((await creator(database, wakeup, events).create([new_task()]))[0], Task)
    finally:
        await database.close()
