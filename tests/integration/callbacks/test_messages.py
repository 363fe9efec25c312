"""Each end makes one message, in the same statement, with the task or group as it ended."""

import json
import time
from datetime import timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis

from app.api.group_schemas import render_group
from app.api.task_schemas import TaskRenderer
from app.core.events import TasksCreated
from app.core.task import Priority
from app.handlers import Catalog
from app.queue.finish import complete, retry_at
from app.queue.read import read_tasks
from app.queue.read_group import read_groups
from app.queue.recover import recover
from app.queue.wakeup import list_name
from tests.integration.callbacks.conftest import CONTENT, FAILURE, TRACE, URL, Bench
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


async def _end(bench: Bench, sql: Connection, how: str, task_id: UUID) -> None:
    match how:
        case "completed":
            (claim,) = await bench.claim(task_id)
            await retry_at(bench.database, [claim], [FAILURE], [timedelta()])
            await sql.execute('UPDATE tasks SET progress = \'{"done":1,"total":null,"message":null}\'')
            await bench.complete(await bench.claim(task_id), '{"deep": ' + "[" * 300 + "]" * 300 + "}")
        case "failed":
            await bench.fail(await bench.claim(task_id))
        case "canceled":
            await bench.canceler.cancel([task_id])
        case _:
            await bench.claim(task_id)
            await sql.execute("DELETE FROM consumers")
            assert len((await recover(bench.database, 10, 1)).failed) == 1


@pytest.mark.parametrize("how", ["completed", "failed", "canceled", "lost"])
async def test_a_message_has_the_task_as_it_ended(how: str, bench: Bench, sql: Connection) -> None:
    """The same names and formats as GET answers; content and result as the text that they are."""
    task_id = await bench.task()
    assert await bench.told(task_id) == []
    await _end(bench, sql, how, task_id)
    task = (await read_tasks(bench.database, [task_id]))[task_id]
    (message,) = await bench.told(task_id)
    assert message.url == URL
    assert message.webhook_id == f"msg_{task_id.hex}_{task.version}"
    # Without recursion in a parser: the result may be nested as deep as it likes.
    deep, shallow = (task.result or "null").encode(), b'"as it was"'
    assert message.body.count(CONTENT.encode()) == 1
    body = json.loads(message.body.replace(deep, shallow, 1) if task.result else message.body)
    if task.result:
        assert message.body.count(deep) == 1
        task.result = shallow.decode()
    told_by_get = json.loads(TaskRenderer(Catalog({}, {}))(task))
    assert body == {
        "type": f"task.{'failed' if how == 'lost' else how}",
        "timestamp": told_by_get["finished_at"],
        "data": told_by_get,
    }
    assert list(body["data"]) == list(told_by_get)


@pytest.mark.parametrize("how", ["completed", "failed", "canceled", "lost"])
async def test_the_end_and_its_delivery_are_one_transaction(
    how: str, bench: Bench, sql: Connection, redis: Redis, events: EventLog
) -> None:
    """By the ids of the transactions that wrote the rows; and consumers are told at once, by Redis."""
    task_id = await bench.task()
    await _end(bench, sql, how, task_id)
    (row,) = await sql.fetch(
        "SELECT told.id, told.xmin = ended.xmin AS together, told.status, told.tenant, told.traceparent, "
        "told.callback_url, told.priority, told.run_at <= now() AS is_due FROM tasks AS told "
        "JOIN tasks AS ended ON ended.id = told.callback_of WHERE told.kind = 'callback'"
    )
    assert tuple(row)[1:] == (True, "pending", 'te"nant', TRACE, None, Priority.NORMAL, True)
    if how != "lost":  # which the sweeper follows up
        await events.seen(TasksCreated, lambda event: list(event.task_ids) == [row["id"]])
        await until(lambda: _is_listed(redis, row["id"]))


async def _is_listed(redis: Redis, task_id: UUID) -> bool:
    return str(task_id).encode() in await redis.lrange(list_name(Priority.NORMAL, "callback"), 0, -1)


async def test_ids_of_deliveries_are_uuids_of_version_7(bench: Bench, sql: Connection) -> None:
    """With the time in front, so that they are in the order in which they were made, and at the end of the index."""
    ids = [await bench.task() for _ in range(50)]
    before = time.time()
    for task_id in ids:
        await bench.canceler.cancel([task_id])
    rows = await sql.fetch("SELECT id, callback_of FROM tasks WHERE kind = 'callback' ORDER BY id")
    assert len({row["id"] for row in rows}) == 50
    for row in rows:
        assert (row["id"].version, row["id"].variant) == (7, "specified in RFC 4122")
        assert before - 1 < (row["id"].int >> 80) / 1_000 < time.time() + 1
    assert len({row["id"].int & (1 << 62) - 1 for row in rows}) == 50


async def test_without_a_callback_nothing_is_told(bench: Bench, sql: Connection) -> None:
    """By none of the ends; also in a batch with tasks that have one."""
    plain = [await bench.task(callback_url=None) for _ in range(4)]
    telling = await bench.task()
    claims = {claim.id: claim for claim in await bench.claim(telling, *plain[:3])}
    assert {task_id: claim.has_callback for task_id, claim in claims.items()} == dict.fromkeys(plain[:3], False) | {
        telling: True
    }
    await bench.complete([claims[telling], claims[plain[0]]])
    await bench.complete([claims[plain[1]]])
    await bench.fail([claims[plain[2]]])
    await bench.canceler.cancel([plain[3]])
    assert [row[0] for row in await sql.fetch("SELECT callback_of FROM tasks WHERE kind = 'callback'")] == [telling]


async def test_what_comes_too_late_tells_nothing(bench: Bench, sql: Connection) -> None:
    """A finish after a cancel, a cancel after a finish, and a finish that is sent again since its answer was lost."""
    canceled, done = await bench.task(), await bench.task()
    late, claim = sorted(await bench.claim(canceled, done), key=lambda each: each.id != canceled)
    await bench.canceler.cancel([canceled])
    await bench.complete([late])
    await bench.fail([late])
    for _ in range(3):
        assert set(await complete(bench.database, [claim], [None])) == {done}
    await bench.canceler.cancel([done])
    assert await sql.fetchval("SELECT count(*) FROM tasks WHERE kind = 'callback'") == 2


async def test_each_run_tells_its_own_end(bench: Bench) -> None:
    """A failed task that is retried has another end, by another id; its first message is as it was."""
    task_id = await bench.task()
    await bench.fail(await bench.claim(task_id))
    await bench.reopener.reopen(task_id)
    await bench.complete(await bench.claim(task_id))
    first, second = await bench.told(task_id)
    assert [json.loads(each.body)["type"] for each in (first, second)] == ["task.failed", "task.completed"]
    assert first.webhook_id != second.webhook_id


@pytest.mark.parametrize("how", ["ended", "stopped", "canceled"])
async def test_a_group_tells_its_end_and_its_members_theirs(how: str, bench: Bench, sql: Connection) -> None:
    """With the counts, progress and errors that GET answers; once, however often somebody looks."""
    group = await bench.group(4, on_failure="cancel_rest" if how == "stopped" else "continue")
    ids = [task.id for task in group.members]
    claims = await bench.claim(*ids[:3])
    await sql.execute('UPDATE tasks SET progress = \'{"done":1.5,"total":3,"message":null}\' WHERE id = $1', ids[0])
    await bench.complete(claims[:1])
    if how == "canceled":
        await sql.execute("UPDATE groups SET canceled_at = clock_timestamp()")
    else:
        await bench.fail(claims[1:2])
    if how == "ended":
        await bench.complete([*claims[2:], *await bench.claim(ids[3])])
    for _ in range(2):
        await bench.follow_up.settle([group.id])
    now = (await read_groups(bench.database, [group.id]))[group.id]
    assert now.ended_at is not None
    (message,) = await bench.told(group.id)
    body = json.loads(message.body)
    told_by_get = json.loads(render_group(now))
    assert body == {"type": "group.ended", "timestamp": told_by_get["ended_at"], "data": told_by_get}
    assert list(body["data"]) == list(told_by_get)
    assert message.webhook_id == f"msg_{group.id.hex}"
    assert await sql.fetchval("SELECT tenant FROM tasks WHERE callback_of = $1", group.id) == "tenant"
    for task_id in ids:
        assert (await bench.data(task_id))["status"] == await sql.fetchval(
            "SELECT status FROM tasks WHERE id = $1", task_id
        )
    together = "SELECT count(*) FROM tasks JOIN groups ON callback_of = groups.id WHERE tasks.xmin = groups.xmin"
    assert await sql.fetchval(together) == 1
