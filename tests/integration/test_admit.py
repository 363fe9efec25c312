"""Concurrency keys: of the tasks with one key, so many run at once and no more."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from app.core.task import Claim, ErrorCode, NewTask, Priority, Task
from app.db.engine import Database
from app.queue import admit as admission
from app.queue.admit import KeySweep, admit
from app.queue.cancel import Canceler
from app.queue.claim import claim_due, claim_ids
from app.queue.finish import Failure, complete, fail, release, retry_at
from app.queue.follow_up import FollowUp
from app.queue.recover import look, recover, register
from app.queue.wakeup import Wakeup
from tests.integration.conftest import WANTED, claimant, creator
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


@pytest.fixture(autouse=True)
async def consumer(consumer_id: UUID) -> UUID:
    """Some consumer serves the kind."""
    return consumer_id


def keyed(key: str = "k", limit: int = 1, **options: object) -> NewTask:
    """A task with a concurrency key."""
    return NewTask(uuid7(), "simulate", "1", concurrency_key=key, concurrency_limit=limit, **options)  # type: ignore[arg-type]


async def _insert(database: Database, *tasks: NewTask) -> list[UUID]:
    """As created, but with nobody who follows up."""
    for task in tasks:
        await database.fetch(
            "INSERT INTO tasks (id, kind, content, priority, run_at, concurrency_key, concurrency_limit, is_blocked)"
            " VALUES ($1, $2, '1', $3, now() + $4, $5, $6, true)",
            *(task.id, task.kind, task.priority, task.delay or timedelta(), task.concurrency_key),
            task.concurrency_limit,
        )
    return [task.id for task in tasks]


async def _claim_all(database: Database, consumer_id: UUID) -> list[Claim]:
    return await claim_due(database, claimant(consumer_id), 100, WANTED)


@pytest.mark.parametrize("limit", [1, 3])
async def test_at_most_so_many_are_let_through(database: Database, consumer_id: UUID, limit: int) -> None:
    """The rest can't be claimed, not even by id."""
    ids = await _insert(database, *(keyed(limit=limit) for _ in range(5)))
    admitted = await admit(database, ["k"])
    assert [hint.id for hint in admitted] == ids[:limit]
    assert [claim.id for claim in await claim_ids(database, claimant(consumer_id), ids)] == ids[:limit]
    assert await _claim_all(database, consumer_id) == []
    assert await admit(database, ["k"]) == []


async def test_keys_do_not_wait_for_one_another(database: Database) -> None:
    """One of each, in one statement."""
    ids = await _insert(database, keyed("a"), keyed("b"), keyed("a"), keyed("c"))
    assert {hint.id for hint in await admit(database, ["a", "b", "c", "none"])} == {ids[0], ids[1], ids[3]}


async def test_the_highest_priority_is_next_and_then_the_oldest(database: Database) -> None:
    """As everywhere; what is not due yet has to wait."""
    late, low, normal, high = await _insert(
        database,
        keyed(priority=Priority.HIGH, delay=timedelta(hours=1)),
        keyed(priority=Priority.LOW),
        keyed(),
        keyed(priority=Priority.HIGH),
    )
    order = []
    while hints := await admit(database, ["k"]):
        order += [hint.id for hint in hints]
        await database.fetch("UPDATE tasks SET status = 'canceled' WHERE NOT is_blocked")
    assert order == [high, normal, low]
    assert late not in order


@pytest.mark.parametrize("way", ["completed", "failed", "retried", "released", "canceled", "recovered"])
async def test_every_way_out_gives_the_place_back(
    way: str, database: Database, consumer_id: UUID, canceler: Canceler, follow_up: FollowUp, sql: Connection
) -> None:
    """Whatever becomes of the one that runs, the other is let through; and one that comes back waits its turn."""
    first, second = await _insert(database, keyed(), keyed())
    await admit(database, ["k"])
    (claim,) = await _claim_all(database, consumer_id)
    assert claim.id == first
    failure = Failure(ErrorCode.HANDLER_ERROR, "x")
    match way:
        case "completed":
            follow_up.left((await complete(database, [claim], [None])).values())
        case "failed":
            follow_up.left((await fail(database, [claim], [failure])).values())
        case "retried":
            follow_up.left((await retry_at(database, [claim], [failure], [timedelta(hours=1)])).values())
        case "released":
            await sql.execute("UPDATE tasks SET run_at = now() + interval '1 hour' WHERE id = $1", first)
            follow_up.left(await release(database, [(claim.id, claim.claim_id)]))
        case "canceled":
            await canceler.cancel([first])
        case _:
            await sql.execute("UPDATE tasks SET run_at = now() + interval '1 hour' WHERE id = $1", first)
            await sql.execute("UPDATE consumers SET beat_at = now() - interval '1 hour'")
            await register(database, uuid4(), "another", 1, ["simulate"])
            follow_up.left((await recover(database, 10, 3)).pending)
    await until(lambda: sql.fetchval("SELECT NOT is_blocked FROM tasks WHERE id = $1", second))
    status, is_blocked = (await sql.fetch("SELECT status, is_blocked FROM tasks WHERE id = $1", first))[0]
    assert is_blocked == (status == "pending")


async def test_admissions_at_once_let_through_no_more(database: Database, sql: Connection) -> None:
    """Fifty, over several connections: each counts what the one before it has let through."""
    await _insert(database, *(keyed(limit=7) for _ in range(60)))
    await asyncio.gather(*(admit(database, ["k"]) for _ in range(50)))
    assert await sql.fetchval("SELECT count(*) FROM tasks WHERE NOT is_blocked") == 7


async def test_an_admission_that_was_lost_is_made_up_for(database: Database, sql: Connection) -> None:
    """Its process died after the COMMIT: the sweep sees that somebody waits, and lets through whoever may."""
    await _insert(database, keyed("a"), keyed("b"), keyed("b"))
    assert (await look(database, 10, [])).has_blocked
    assert len(await KeySweep(database).sweep()) == 2
    assert await KeySweep(database).sweep() == []
    await sql.execute("UPDATE tasks SET status = 'canceled'")
    assert not (await look(database, 10, [])).has_blocked


async def test_a_sweep_that_is_out_of_time_is_gone_on_with(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many keys wait, whoever sweeps has other things to sweep for."""
    monkeypatch.setattr(admission, "_MOST_KEYS", 2)
    ids = await _insert(database, *(keyed(key) for key in "abcde"))
    sweep = KeySweep(database)
    assert [[hint.id for hint in await sweep.sweep(0)] for _ in range(4)] == [ids[:2], ids[2:4], ids[4:], []]


async def test_what_is_due_later_is_let_through_later(database: Database, sql: Connection) -> None:
    """It takes no place until then."""
    later, now = await _insert(database, keyed(delay=timedelta(hours=1)), keyed())
    assert [hint.id for hint in await KeySweep(database).sweep()] == [now]
    await sql.execute(
        "UPDATE tasks SET run_at = now(), status = CASE WHEN id = $1 THEN 'canceled' ELSE status END", now
    )
    assert [hint.id for hint in await KeySweep(database).sweep()] == [later]


async def test_a_created_task_is_announced_when_it_is_let_through(
    database: Database, wakeup: Wakeup, events: EventLog
) -> None:
    """The first at once; of the other nobody hears yet."""
    tasks = await creator(database, wakeup, events).create([keyed(), keyed()])
    popped = [hint.id for hint in await wakeup.pop(WANTED, 10, 5)]
    assert all(isinstance(task, Task) for task in tasks)
    assert len(popped) == 1
    assert await wakeup.pop(WANTED, 10, 0.05) == []


async def test_each_task_has_its_own_limit(database: Database) -> None:
    """The first may have four beside it; the second wants to be alone, and those behind it wait their turn."""
    ids = await _insert(database, keyed(limit=5), keyed(limit=1), keyed(limit=5))
    assert [hint.id for hint in await admit(database, ["k"])] == [ids[0]]
    await database.fetch("UPDATE tasks SET status = 'canceled' WHERE NOT is_blocked")
    assert [hint.id for hint in await admit(database, ["k"])] == [ids[1]]
    assert await admit(database, ["k"]) == []


async def test_a_task_that_nobody_serves_keeps_nobody_waiting(database: Database, sql: Connection) -> None:
    """Neither before it is admitted, nor when its consumers go away afterwards."""
    first, second = await _insert(database, keyed(), keyed())
    await sql.execute("UPDATE tasks SET kind = 'other' WHERE id = $1", first)
    assert [hint.id for hint in await admit(database, ["k"])] == [second]
    await sql.execute("UPDATE tasks SET is_blocked = (id <> $1)", first)  # as if a consumer had served it until now
    assert await admit(database, ["k"]) == []
    assert [hint.id for hint in await KeySweep(database).sweep()] == [second]
    assert await sql.fetchval("SELECT is_blocked FROM tasks WHERE id = $1", first)


async def test_a_key_that_is_held_by_a_frozen_process_holds_up_no_other(database: Database, sql: Connection) -> None:
    """The sweep passes it over."""
    held, other = await _insert(database, keyed("a"), keyed("b"))
    async with sql.transaction():
        await sql.execute("SELECT pg_advisory_xact_lock($1, hashtext('a'))", admission._LOCK_CLASS)
        assert [hint.id for hint in await KeySweep(database).sweep()] == [other]
    assert [hint.id for hint in await KeySweep(database).sweep()] == [held]


async def test_a_dead_consumers_place_is_free(database: Database, sql: Connection) -> None:
    """By the same rule that takes back its task."""
    await _insert(database, keyed(), keyed())
    await admit(database, ["k"])
    await sql.execute(
        "UPDATE tasks SET status = 'processing', attempt = 1, claim_id = $1, consumer_id = $1 WHERE NOT is_blocked",
        uuid4(),
    )
    recovered = await recover(database, 10, 3)
    assert len(recovered.pending) == 1
    assert len(await KeySweep(database).sweep()) == 1
    assert await sql.fetchval("SELECT count(*) FROM tasks WHERE status = 'pending' AND is_blocked") == 1
