"""What the failure of a member does to the others: on_failure."""

import asyncio
import json
import random
from dataclasses import replace

from uuid_utils.compat import uuid7

from app.core.config import Settings
from app.core.events import GroupEnded, HandlerStopped, MembersCanceled
from app.core.group import NewGroup
from app.core.task import NewTask
from app.queue.cancel import Canceler
from app.queue.create_group import GroupCreator
from app.queue.listen import CANCELED
from app.queue.recover import recover
from app.queue.retry import Reopener
from app.queue.wakeup import Wakeup
from tests.integration.groups.conftest import Bench
from tests.support.consuming import consuming
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


async def test_cancel_rest_cancels_the_others_and_starts_then(bench: Bench) -> None:
    """One fails: who has ended stays, the others are told why, and `then` is told how many."""
    group = await bench.group(6, "cancel_rest", then="{}")
    claims = await bench.claim(replace(group, members=group.members[:4]))
    await bench.complete(claims[:2], bench.follow_up)
    assert await bench.counts(group) == (2, 2, 2, 0, 0)
    await bench.fail(claims[2:3], bench.follow_up)
    assert await bench.counts(group) == (0, 0, 2, 1, 3)
    (told,) = await bench.then_told(group)
    assert told["group"] == {"id": str(group.id), "total": 6, "completed": 2, "failed": 1, "canceled": 3}
    rows = await bench.database.fetch("SELECT error::text FROM tasks WHERE status = 'canceled'")
    assert {json.loads(row[0])["code"] for row in rows} == {"canceled_group"}
    (error,) = json.loads((await bench.read(group)).errors)
    assert (error["task_id"], error["message"]) == (str(claims[2].id), "it was told to")


async def test_continue_lets_the_others_go_on(bench: Bench) -> None:
    """One fails: the others stay as they are."""
    group = await bench.group(3, "continue")
    await bench.fail((await bench.claim(group))[:1], bench.follow_up)
    await bench.sweep()
    assert await bench.counts(group) == (0, 2, 0, 1, 0)


async def test_a_failure_that_nobody_followed_up_is_found_by_the_sweep(bench: Bench) -> None:
    """Whoever failed the member died right after: it marked the group in the same statement."""
    group = await bench.group(4, "cancel_rest", then="{}")
    claims = await bench.claim(replace(group, members=group.members[:2]))
    await bench.fail(claims[:1], None)
    assert await bench.counts(group) == (2, 1, 0, 1, 0)
    await bench.sweep()
    assert await bench.counts(group) == (0, 0, 0, 1, 3)
    assert len(await bench.then_told(group)) == 1


async def test_a_member_lost_too_often_counts_as_failed(bench: Bench, sql: Connection) -> None:
    """Its consumers died: the sweep that fails it marks the group as well."""
    group = await bench.group(2, "cancel_rest")
    claims = await bench.claim(replace(group, members=group.members[:1]))
    await sql.execute("UPDATE tasks SET lost_count = 2 WHERE id = $1", claims[0].id)
    await sql.execute("DELETE FROM consumers")
    recovered = await recover(bench.database, 10, 3)
    bench.follow_up.left(recovered.failed)
    await bench.follow_up.drain()
    assert await bench.counts(group) == (0, 0, 0, 1, 1)


async def test_failures_of_many_groups_at_once_do_not_deadlock(bench: Bench) -> None:
    """Ten batches, each with a member of each of 50 groups, in all orders: every group is marked and ends."""
    groups = [await bench.group(10, "cancel_rest") for _ in range(50)]
    claims = [await bench.claim(group) for group in groups]

    async def fail_column(column: int) -> None:
        await bench.fail(random.sample([row[column] for row in claims], 50), bench.new_follow_up())

    await asyncio.gather(*(fail_column(column) for column in range(10)))
    for group in groups:
        _, _, _, failed, canceled = await bench.counts(group)
        assert failed + canceled == 10
        assert failed >= 1
    assert len(bench.events.of(GroupEnded)) == 50


async def test_a_member_that_a_client_cancels_has_not_failed(bench: Bench) -> None:
    """cancel_rest is about failures: the others go on; the last one canceled is an end all the same."""
    group = await bench.group(2, "cancel_rest", then="{}")
    canceler = Canceler(bench.database, bench.wakeup, bench.follow_up, bench.events)
    await canceler.cancel([group.members[0].id])
    await bench.follow_up.drain()
    await bench.sweep()
    assert await bench.counts(group) == (1, 0, 0, 0, 1)
    await canceler.cancel([group.members[1].id])
    await bench.follow_up.drain()
    assert len(await bench.then_told(group)) == 1


async def test_a_member_retried_while_its_group_is_stopping_is_canceled(bench: Bench) -> None:
    """Nobody has followed up its failure yet, and a client has it run again: the sweep stops it."""
    group = await bench.group(2, "cancel_rest")
    claims = await bench.claim(group)
    await bench.fail(claims[:1], None)
    await Reopener(bench.database, bench.follow_up, bench.events).reopen(claims[0].id)
    await bench.sweep()
    assert await bench.counts(group) == (0, 0, 0, 0, 2)


async def test_cancel_rest_stops_running_members_within_a_second(
    settings: Settings, bench: Bench, sql: Connection
) -> None:
    """30 run on two consumers and 30 wait; one fails: within a second all rows are canceled and all handlers gone."""
    settings = settings.model_copy(
        update={"handler_modules": "tests.handlers.groups", "consumer_concurrency": 15, "beat_seconds": 5}
        | {"lease_seconds": 15}
    )
    logs = [EventLog(), EventLog()]
    async with consuming(settings, logs[0]), consuming(settings, logs[1]):
        await until(lambda: _listeners(bench.wakeup, 2))
        group_id = uuid7()
        long = [NewTask(uuid7(), "step", '{"seconds": 60}', group_id=group_id) for _ in range(59)]
        bad = NewTask(uuid7(), "step", '{"seconds": 3, "fails": true}', group_id=group_id)
        group = NewGroup(group_id, [bad, *long], "cancel_rest", NewTask(uuid7(), "report", "{}"))
        await GroupCreator(bench.database, bench.wakeup, bench.follow_up, bench.events).create(group)

        async def is_full() -> bool:
            return (await bench.read(group)).processing == 30

        await until(is_full)

        async def is_canceled() -> bool:
            return any(log.of(MembersCanceled) for log in logs)

        await until(is_canceled)
        failed_at = await sql.fetchval("SELECT finished_at FROM tasks WHERE id = $1", bad.id)
        rows = await sql.fetch("SELECT finished_at FROM tasks WHERE status = 'canceled'")
        assert len(rows) == 59
        assert max((row[0] - failed_at).total_seconds() for row in rows) < 1

        async def are_gone() -> bool:
            # A slot that the failed one left may have been taken once more before the group was marked.
            started: int = await sql.fetchval("SELECT count(started_at) FROM tasks WHERE status = 'canceled'")
            return 29 <= started == sum(len(log.of(HandlerStopped)) for log in logs)

        await until(are_gone)
        assert group.then is not None
        then_id = group.then.id

        async def has_reported() -> bool:
            return bool(await sql.fetchval("SELECT status = 'completed' FROM tasks WHERE id = $1", then_id))

        await until(has_reported)
        result = json.loads(await sql.fetchval("SELECT result FROM tasks WHERE id = $1", then_id))
        assert result["group"] == {"id": str(group_id), "total": 60, "completed": 0, "failed": 1, "canceled": 59}


async def _listeners(wakeup: Wakeup, count: int) -> bool:
    return bool((await wakeup._client.pubsub_numsub(CANCELED))[0][1] == count)
