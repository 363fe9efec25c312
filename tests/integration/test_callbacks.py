"""Callbacks: what ends a task or a group makes the delivery that tells it, in the same statement."""

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis
from starlette.types import Message, Scope
from uuid_utils.compat import uuid7

from app.api.caller import CALLER
from app.api.delivery_api import DeliveryApi
from app.api.delivery_schemas import render_delivery
from app.api.errors import ProblemError
from app.api.group_api import GroupApi
from app.api.group_schemas import render_group
from app.api.task_schemas import TaskRenderer
from app.core.caller import Caller, Role
from app.core.config import Settings
from app.core.events import TasksCreated
from app.core.group import NewGroup
from app.core.task import Claim, ErrorCode, NewTask, Priority
from app.db.engine import Database
from app.handlers import Catalog
from app.handlers.callback.payload import Callback
from app.handlers.callback.tries import delivered, failed
from app.queue.cancel import Canceler
from app.queue.claim import claim_ids
from app.queue.create import Creator
from app.queue.create_group import GroupCreator
from app.queue.deliveries import MOST, read_deliveries, repeat_delivery
from app.queue.finish import Failure, complete, fail, retry_at
from app.queue.follow_up import FollowUp
from app.queue.read import read_tasks
from app.queue.read_group import read_groups
from app.queue.recover import recover
from app.queue.retry import Reopener
from app.queue.wakeup import Wakeup, list_name
from tests.integration.conftest import claimant
from tests.support.services import services_of
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

URL = "https://example.com/hook?a=%20&b=1"
TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"
FAILURE = Failure(ErrorCode.HANDLER_ERROR, 'it was "told" to\n\u00e9\U0001f600')
CONTENT = '{"n": [1.0, 1e22, null], "body" : {"x, \\"body\\" : ": "\u00e9\\u00e9"}, "big": 12345678901234567890}'


class Bench:
    """Tasks and groups with a callback, to end in all ways."""

    def __init__(
        self,
        database: Database,
        wakeup: Wakeup,
        follow_up: FollowUp,
        canceler: Canceler,
        events: EventLog,
        consumer_id: UUID,
    ) -> None:
        self.database = database
        self.follow_up = follow_up
        self.canceler = canceler
        self.reopener = Reopener(database, follow_up, events)
        self._creator = Creator(database, wakeup, follow_up, events)
        self._groups = GroupCreator(database, wakeup, follow_up, events)
        self._consumer_id = consumer_id

    async def task(self, **fields: Any) -> UUID:
        """A pending task of which as much as possible is said."""
        said: dict[str, Any] = {
            "priority": Priority.HIGH,
            "delay": timedelta(seconds=-1),
            "max_attempts": 3,
            "timeout_seconds": 1.5,
            "concurrency_key": None,
            "traceparent": TRACE,
            "tenant": 'te"nant',
            "callback_url": URL,
        }
        new = NewTask(uuid7(), "simulate", CONTENT, **said | fields)
        await self._creator.create([new])
        return new.id

    async def group(self, members: int, **fields: Any) -> NewGroup:
        """A group of pending tasks, each with a callback too."""
        group_id = uuid7()
        tasks = [NewTask(uuid7(), "simulate", "1", group_id=group_id, callback_url=URL) for _ in range(members)]
        new = NewGroup(group_id, tasks, callback_url=URL, tenant="tenant", **fields)
        await self._groups.create(new)
        return new

    async def claim(self, *ids: UUID) -> list[Claim]:
        """Claim these tasks."""
        return await claim_ids(self.database, claimant(self._consumer_id), ids)

    async def complete(self, claims: Sequence[Claim], result: str | None = None) -> None:
        """Complete, and follow up."""
        written = await complete(self.database, claims, [result] * len(claims))
        self.follow_up.left(written.values())
        await self.follow_up.drain()

    async def fail(self, claims: Sequence[Claim]) -> None:
        """Fail, and follow up."""
        written = await fail(self.database, claims, [FAILURE] * len(claims))
        self.follow_up.left(written.values())
        await self.follow_up.drain()

    async def told(self, of: UUID) -> list[Callback]:
        """The messages that tell this end, oldest first."""
        rows = await self.database.fetch(
            "SELECT content::text FROM tasks WHERE kind = 'callback' AND callback_of = $1 ORDER BY id", of
        )
        return [Callback.parse(row[0]) for row in rows]

    async def data(self, of: UUID) -> dict[str, Any]:
        """What the only message about this end has of it."""
        (message,) = await self.told(of)
        return dict(json.loads(message.body)["data"])


@pytest.fixture
def bench(
    database: Database,
    wakeup: Wakeup,
    follow_up: FollowUp,
    canceler: Canceler,
    events: EventLog,
    consumer_id: UUID,
) -> Bench:
    """With a consumer that claims."""
    return Bench(database, wakeup, follow_up, canceler, events, consumer_id)


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


async def test_a_delivery_shows_its_tries(bench: Bench) -> None:
    """Of what its handler recorded, and of a run that was lost with its consumer; newest delivery first."""
    task_id = await bench.task()
    await bench.canceler.cancel([task_id])
    (delivery,) = await read_deliveries(bench.database, task_id)
    assert (delivery.url, delivery.type) == (URL, "task.canceled")
    await bench.database.fetch("UPDATE consumers SET kinds = '{simulate,callback}'")
    who = claimant(bench._consumer_id, "callback")
    (claim,) = await claim_ids(bench.database, who, [delivery.id])
    failure = Failure(ErrorCode.DEPENDENCY_UNAVAILABLE, failed(500, 17, "The server answered 500."))
    await retry_at(bench.database, [claim], [failure], [timedelta()])
    (claim,) = await claim_ids(bench.database, who, [delivery.id])
    failure = Failure(ErrorCode.CONSUMER_LOST, "The consumer that ran this task died (loss 1).")
    await retry_at(bench.database, [claim], [failure], [timedelta(hours=1)])
    waiting = await _get(bench, task_id)
    assert waiting["status"] == "pending"
    assert waiting["next_try_at"] > waiting["tries"][-1]["at"]
    await bench.database.fetch("UPDATE tasks SET run_at = now() WHERE kind = 'callback'")
    (claim,) = await claim_ids(bench.database, who, [delivery.id])
    assert (await _get(bench, task_id))["status"] == "delivering"
    await complete(bench.database, [claim], [json.dumps(delivered(204, 5))])
    done = await _get(bench, task_id)
    assert (done["status"], done["next_try_at"]) == ("delivered", None)
    assert [(tried["status"], tried["duration_ms"], tried["error"]) for tried in done["tries"]] == [
        (500, 17, "The server answered 500."),
        (None, None, "The consumer that ran this task died (loss 1)."),
        (204, 5, None),
    ]
    assert sorted(tried["at"] for tried in done["tries"]) == [tried["at"] for tried in done["tries"]]


async def _get(bench: Bench, of: UUID) -> dict[str, Any]:
    return dict(json.loads(render_delivery((await read_deliveries(bench.database, of))[0])))


async def test_a_repeat_is_the_same_message(bench: Bench) -> None:
    """Of the last end; and no more than so many are shown, newest first."""
    task_id = await bench.task()
    assert await repeat_delivery(bench.database, bench.follow_up, task_id) is None
    await bench.fail(await bench.claim(task_id))
    await bench.reopener.reopen(task_id)
    await bench.complete(await bench.claim(task_id))
    for _ in range(MOST):
        assert await repeat_delivery(bench.database, bench.follow_up, task_id) is not None
    first, *others = await bench.told(task_id)
    assert len(others) == MOST + 1
    assert {message.body for message in others} == {others[0].body}
    assert {message.webhook_id for message in others} == {others[0].webhook_id} != {first.webhook_id}
    shown = await read_deliveries(bench.database, task_id)
    assert len(shown) == MOST
    assert sorted((each.created_at for each in shown), reverse=True) == [each.created_at for each in shown]


async def _no_body() -> Message:
    raise AssertionError("these calls read no body")


async def test_only_its_tenant_sees_deliveries(
    bench: Bench, settings: Settings, database: Database, wakeup: Wakeup, events: EventLog
) -> None:
    """To others there is no such task and no such group, and nothing is told for them."""
    services = services_of(settings, database, wakeup, events)
    api = DeliveryApi(services, GroupApi(services))
    task_id = await bench.task(tenant="tenant")
    await bench.canceler.cancel([task_id])
    group = await bench.group(1)
    await bench.complete(await bench.claim(group.members[0].id))
    ids = {"task_id": str(task_id), "group_id": str(group.id)}
    for tenant, role, sees in (
        ("tenant", Role.READ, True),
        (None, Role.ADMIN, True),
        ("other", Role.WRITE, False),
        (None, Role.WRITE, False),
    ):
        scope: Scope = {"type": "http", "path_params": ids, CALLER: Caller("key", role, tenant)}
        for call in (api.of_task, api.of_group, api.repeat_of_task, api.repeat_of_group):
            if sees:
                assert b'"url":"https://example.com/' in await call(scope, _no_body)
            else:
                with pytest.raises(ProblemError) as caught:
                    await call(scope, _no_body)
                assert caught.value.status == 404
    assert len(await read_deliveries(database, task_id)) == len(await read_deliveries(database, group.id)) == 3
