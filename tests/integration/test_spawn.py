"""Children of tasks: made while the parent is held, and once however many attempts make them."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from app.consumer.spawning import new_group, new_tasks
from app.core.config import Settings
from app.core.errors import InvalidPayloadError, LostClaimError, UnknownKindError
from app.core.group import MOST_MEMBERS
from app.core.task import Claim
from app.db.engine import Database
from app.handler_api.spawn import Child
from app.handlers import Catalog
from app.queue.cancel import Canceler
from app.queue.claim import claim_ids
from app.queue.finish import release
from app.queue.recover import register
from app.queue.spawn import Spawner, derived_id
from app.queue.wakeup import Wakeup, list_name
from tests.conftest import quick_settings
from tests.integration.conftest import Insert, claimant
from tests.support.consuming import consuming
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    """With the kinds of tests/handlers/groups.py."""
    return Catalog.load(settings.model_copy(update={"handler_modules": "tests.handlers.groups"}))


@pytest.fixture
async def parent(database: Database, insert: Insert, consumer_id: UUID) -> Claim:
    """A task that runs."""
    (claim,) = await claim_ids(database, claimant(consumer_id), await insert())
    return claim


@pytest.fixture
def spawner(database: Database, wakeup: Wakeup, events: EventLog) -> Spawner:
    """Spawns, as a consumer does."""
    return Spawner(database, wakeup, events)


def _steps(count: int) -> list[Child]:
    return [Child("step", {"seconds": number}) for number in range(count)]


async def _spawn(what: str, spawner: Spawner, parent: Claim, catalog: Catalog) -> None:
    if what == "children":
        await spawner.spawn(parent, await new_tasks(parent, "k", _steps(3), catalog.check))
    else:
        await spawner.spawn_group(parent, await new_group(parent, "k", _steps(3), "continue", None, catalog.check))


async def _rows(sql: Connection) -> int:
    return int(await sql.fetchval("SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM groups)"))


async def test_spawned_by_the_same_key_again_children_stay(
    spawner: Spawner, parent: Claim, catalog: Catalog, database: Database, consumer_id: UUID, sql: Connection
) -> None:
    """Another attempt at the parent makes what is missing and nothing twice; another key makes others."""
    first = await new_tasks(parent, "steps", _steps(3), catalog.check)
    await spawner.spawn(parent, first)
    await sql.execute("UPDATE tasks SET status = 'completed' WHERE id = $1", first[0].id)
    await release(database, [(parent.id, parent.claim_id)])
    (again,) = await claim_ids(database, claimant(consumer_id), [parent.id])
    second = await new_tasks(again, "steps", _steps(4), catalog.check)
    assert [task.id for task in second][:3] == [task.id for task in first]
    await spawner.spawn(again, second)
    assert await _rows(sql) == 1 + 4
    assert await sql.fetchval("SELECT status FROM tasks WHERE id = $1", first[0].id) == "completed"
    await spawner.spawn(again, await new_tasks(again, "others", _steps(2), catalog.check))
    assert await _rows(sql) == 1 + 6


async def test_a_group_is_spawned_once(spawner: Spawner, parent: Claim, catalog: Catalog, sql: Connection) -> None:
    """By the same key; its members are its own, also where children have been spawned by that key."""
    group = await new_group(parent, "k", _steps(5), "cancel_rest", Child("report", {}), catalog.check)
    for _ in range(2):
        await spawner.spawn(parent, await new_tasks(parent, "k", _steps(5), catalog.check))
        await spawner.spawn_group(parent, group)
        more = await new_group(parent, "k", _steps(7), "continue", None, catalog.check)
        assert more.id == group.id
        await spawner.spawn_group(parent, more)
    assert await _rows(sql) == 1 + 5 + 1 + 5
    row = (await sql.fetch("SELECT on_failure, total, then_id FROM groups"))[0]
    assert tuple(row) == ("cancel_rest", 5, group.then.id if group.then else None)
    assert await sql.fetchval("SELECT count(*) FROM tasks WHERE group_id = $1", group.id) == 5


@pytest.mark.parametrize("what", ["children", "group"])
@pytest.mark.parametrize("how", ["canceled", "released", "claimed again", "another's claim"])
async def test_a_parent_that_is_not_held_makes_nothing(
    what: str,
    how: str,
    spawner: Spawner,
    parent: Claim,
    catalog: Catalog,
    canceler: Canceler,
    database: Database,
    consumer_id: UUID,
    sql: Connection,
) -> None:
    """A zombie: what it asks for is refused, and nothing is written."""
    match how:
        case "canceled":
            await canceler.cancel([parent.id])
        case "another's claim":
            await sql.execute("UPDATE tasks SET claim_id = $1", uuid4())
        case _:
            await release(database, [(parent.id, parent.claim_id)])
    if how == "claimed again":
        await claim_ids(database, claimant(consumer_id), [parent.id])
    with pytest.raises(LostClaimError):
        await _spawn(what, spawner, parent, catalog)
    assert await _rows(sql) == 1


async def test_a_cancel_comes_before_the_children_or_after(
    spawner: Spawner, parent: Claim, catalog: Catalog, database: Database, sql: Connection
) -> None:
    """The cancel holds the parent while the spawn waits for it: then nothing is made, however long it waited."""
    tasks = await new_tasks(parent, "k", _steps(3), catalog.check)
    async with sql.transaction():
        await sql.execute("UPDATE tasks SET status = 'canceled' WHERE id = $1", parent.id)
        spawning = asyncio.create_task(spawner.spawn(parent, tasks))
        await until(lambda: database.fetch("SELECT FROM pg_locks WHERE NOT granted"))
    with pytest.raises(LostClaimError):
        await spawning
    assert await _rows(sql) == 1


@pytest.mark.parametrize("what", ["children", "group"])
async def test_a_spawn_whose_answer_is_lost_is_made_once(
    what: str, parent: Claim, catalog: Catalog, database_proxy: Proxy, wakeup: Wakeup, sql: Connection
) -> None:
    """The COMMIT's answer is cut: the same statement again finds what is there."""
    database = Database(quick_settings(database_proxy.url, "redis://unused").database_url, 2, 2)
    spawner = Spawner(database, wakeup, EventLog())
    database_proxy.cut_reply_to(lambda data: parent.claim_id.bytes in data)
    await _spawn(what, spawner, parent, catalog)
    assert database_proxy.replies_cut == 1
    assert await _rows(sql) == 1 + 3 + (what == "group")
    await database.close()


WRONG: dict[str, tuple[Child, str]] = {
    "unknown field": (Child("step", {"x": 1}), "/children/1/content/x"),
    "wrong type": (Child("step", {"seconds": "1"}), "/children/1/content/seconds"),
    "NUL": (Child("simulate", {"a": ["\0"]}), "/children/1/content/a/0"),
    "NUL in a name": (Child("simulate", {"\0": 1}), "/children/1/content"),
    "lone surrogate": (Child("simulate", "\ud800"), "/children/1/content"),
    "NaN": (Child("simulate", [float("nan")]), "/children/1/content/0"),
    "2^53": (Child("simulate", 2**53), "/children/1/content"),
    "no JSON": (Child("simulate", object()), "/children/1/content"),
    "too deep": (Child("simulate", json.loads("[" * 65 + "]" * 65)), "/children/1/content/0/0"),
    "much too deep": (Child("simulate", json.loads("[" * 900 + "]" * 900)), "/children/1/content"),
}


@pytest.mark.parametrize(("child", "pointer"), WRONG.values(), ids=WRONG)
async def test_a_child_that_can_not_be_is_said_where(
    child: Child, pointer: str, parent: Claim, catalog: Catalog
) -> None:
    """Before anything is written, and without the value."""
    with pytest.raises(InvalidPayloadError) as caught:
        await new_tasks(parent, "k", [Child("step", {}), child], catalog.check)
    assert [problem[0] for problem in caught.value.problems] == [pointer]


async def test_a_kind_that_there_is_not_is_said(parent: Claim, catalog: Catalog) -> None:
    """With the child that asks for it."""
    with pytest.raises(UnknownKindError, match="/children/0/kind"):
        await new_tasks(parent, "k", [Child("nope", 1)], catalog.check)


THEN: dict[str, tuple[Child, str]] = {
    "takes no group": (Child("step", {}), "/then/content/group"),
    "no object": (Child("report", 1), "/then/content"),
    "has a group": (Child("report", {"group": 1}), "/then/content/group"),
    "wrong field": (Child("report", {"label": 1}), "/then/content/label"),
}


@pytest.mark.parametrize(("then", "pointer"), THEN.values(), ids=THEN)
async def test_a_then_that_can_not_be_is_said_where(then: Child, pointer: str, parent: Claim, catalog: Catalog) -> None:
    """As it would be when the group ends: with `group` in it."""
    with pytest.raises(InvalidPayloadError) as caught:
        await new_group(parent, "k", _steps(1), "continue", then, catalog.check)
    assert [problem[0] for problem in caught.value.problems] == [pointer]


async def test_a_group_has_members_but_not_too_many(parent: Claim, catalog: Catalog) -> None:
    """1 to 10,000, as in POST /group; and no more children than that by one key."""
    for count in (0, MOST_MEMBERS + 1):
        with pytest.raises(ValueError, match="1 to 10,000"):
            await new_group(parent, "k", [Child("step", {})] * count, "continue", None, catalog.check)
    with pytest.raises(ValueError, match="at most 10,000"):
        await new_tasks(parent, "k", [Child("step", {})] * (MOST_MEMBERS + 1), catalog.check)
    assert await new_tasks(parent, "k", [], catalog.check) == []


def test_ids_are_of_version_8_and_near_their_parent() -> None:
    """RFC 9562; parent, key and part all count, and none runs into another."""
    parent = uuid7()
    ids = [
        derived_id(parent, key, part) for key in ("", "k", "k\0", "\ud800") for part in ("child 0", "child 1", "then")
    ]
    ids += [derived_id(uuid7(), "k", "then")]
    assert len(set(ids)) == 13
    for task_id in ids:
        assert (task_id.version, task_id.variant) == (8, parent.variant)
    assert {task_id.bytes[:6] for task_id in ids[:12]} == {parent.bytes[:6]}
    assert derived_id(parent, "k", "then") == ids[5]


async def test_10_000_children_at_once(spawner: Spawner, parent: Claim, catalog: Catalog, sql: Connection) -> None:
    """In one statement."""
    group = await new_group(parent, "k", [Child("step", {})] * 10_000, "continue", None, catalog.check)
    await spawner.spawn_group(parent, group)
    assert await sql.fetchval("SELECT count(*) FROM tasks WHERE group_id = $1", group.id) == 10_000


async def test_a_handler_spawns_a_group_and_ends_and_then_carries_on(
    settings: Settings, events: EventLog, sql: Connection
) -> None:
    """Its first two attempts fail after the spawn: there is one group all the same, and one `then`."""
    settings = settings.model_copy(update={"handler_modules": "tests.handlers.groups"})
    task_id = uuid7()
    content = json.dumps({"steps": 30, "failures": 2})
    async with consuming(settings, events):
        await sql.execute("INSERT INTO tasks (id, kind, content) VALUES ($1, 'fan_out', $2)", task_id, content)

        async def has_reported() -> bool:
            return bool(await sql.fetchval("SELECT status = 'completed' FROM tasks WHERE kind = 'report'"))

        await until(has_reported)

        async def all_have_ended() -> bool:
            return not await sql.fetchval("SELECT count(*) FROM tasks WHERE status <> 'completed'")

        await until(all_have_ended)
    row = (await sql.fetch("SELECT attempt, result FROM tasks WHERE id = $1", task_id))[0]
    assert row["attempt"] == 3
    result: dict[str, Any] = json.loads(row["result"])
    report = json.loads(await sql.fetchval("SELECT result FROM tasks WHERE kind = 'report'"))
    counts = {"total": 30, "completed": 30, "failed": 0, "canceled": 0}
    assert report == {"group": {"id": result["group_id"], **counts}, "label": "spawned"}
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 1 + 2 + 30 + 1


async def test_children_wake_consumers_at_once(
    database: Database, spawner: Spawner, parent: Claim, catalog: Catalog, wakeup: Wakeup
) -> None:
    """Their ids are in Redis after the COMMIT, but for those that are due later."""
    await register(database, uuid4(), "test", 1, ["step"])  # who serves them, so that the keyed one is let through
    children = [Child("step", {}), Child("step", {}, delay_seconds=60), Child("step", {}, concurrency_key="k")]
    tasks = await new_tasks(parent, "k", children, catalog.check)
    await spawner.spawn(parent, tasks)
    await wakeup._pushes.drain()
    listed = await wakeup._client.lrange(list_name(1, "step"), 0, -1)
    assert sorted(listed) == sorted(str(task.id).encode() for task in (tasks[0], tasks[2]))
