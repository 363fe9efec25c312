"""Groups: exact counts, one end, one `then`, whoever finishes, fails, cancels or dies when."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.core.config import Settings
from app.core.events import GroupEnded, HandlerStopped, MembersCanceled
from app.core.group import Group, NewGroup, OnFailure
from app.core.task import Claim, ErrorCode, NewTask
from app.db.engine import Database
from app.queue.cancel import Canceler
from app.queue.cancel_group import GroupCanceler
from app.queue.claim import claim_ids
from app.queue.create_group import GroupCreator
from app.queue.finish import Failure, complete, fail
from app.queue.follow_up import FollowUp
from app.queue.read_group import read_groups
from app.queue.recover import look, recover
from app.queue.retry import Reopener
from app.queue.settle import GroupSweep
from app.queue.wakeup import CHANNEL, Wakeup
from tests.conftest import quick_settings
from tests.integration.conftest import claimant
from tests.support.consuming import consuming
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

FAILURE = Failure(ErrorCode.HANDLER_ERROR, "it was told to")


class Bench:
    """A group to finish in all ways, on a pool that is wide enough for 50 at once."""

    def __init__(self, database: Database, wakeup: Wakeup, events: EventLog, consumer_id: UUID) -> None:
        self.database = database
        self.wakeup = wakeup
        self.events = events
        self.consumer_id = consumer_id
        self.follow_up = self.new_follow_up()
        self.canceler = GroupCanceler(database, self.follow_up, events)
        self.sweep = GroupSweep(database, self.follow_up.settle).sweep

    def new_follow_up(self) -> FollowUp:
        """As each consumer has one."""
        return FollowUp(self.database, self.wakeup, self.events)

    async def group(
        self, size: int, on_failure: OnFailure = "continue", then: str | None = None, kind: str = "simulate"
    ) -> NewGroup:
        """A committed group of pending members; `then`: the content of a `simulate` task."""
        group_id = uuid7()
        members = [NewTask(uuid7(), kind, "{}", group_id=group_id) for _ in range(size)]
        new = NewGroup(group_id, members, on_failure, None if then is None else NewTask(uuid7(), "simulate", then))
        await GroupCreator(self.database, self.wakeup, self.follow_up, self.events).create(new)
        return new

    async def claim(self, group: NewGroup) -> list[Claim]:
        """Claim every member."""
        ids = [task.id for task in group.members]
        return await claim_ids(self.database, claimant(self.consumer_id), ids)

    async def complete(self, claims: Sequence[Claim], follow_up: FollowUp | None) -> None:
        """Complete, and follow up if there is somebody to do it."""
        written = await complete(self.database, claims, [None] * len(claims))
        if follow_up is not None:
            follow_up.left(written.values())
            await follow_up.drain()

    async def fail(self, claims: Sequence[Claim], follow_up: FollowUp | None) -> None:
        """Fail, the same."""
        written = await fail(self.database, claims, [FAILURE] * len(claims))
        if follow_up is not None:
            follow_up.left(written.values())
            await follow_up.drain()

    async def read(self, group: NewGroup) -> Group:
        """As it stands."""
        return (await read_groups(self.database, [group.id]))[group.id]

    async def counts(self, group: NewGroup) -> tuple[int, int, int, int, int]:
        """Pending, processing, completed, failed, canceled."""
        found = await self.read(group)
        return found.pending, found.processing, found.completed, found.failed, found.canceled

    async def then_told(self, group: NewGroup) -> list[dict[str, object]]:
        """What each `then` task that was started is told."""
        assert group.then is not None
        rows = await self.database.fetch(
            "SELECT content::text FROM tasks WHERE id = $1 OR content::jsonb -> 'group' ->> 'id' = $2",
            group.then.id,
            str(group.id),
        )
        return [json.loads(row[0]) for row in rows]


@pytest.fixture
async def bench(settings: Settings, wakeup: Wakeup, events: EventLog, consumer_id: UUID) -> AsyncIterator[Bench]:
    """With as many connections as 50 finishers and what follows them can use."""
    database = Database(settings.database_url, 110, 10)
    yield Bench(database, wakeup, events, consumer_id)
    await database.close()


async def test_50_finishers_of_10_000_members_count_exactly_and_start_then_once(bench: Bench) -> None:
    """Whenever somebody looks, all members are there, each once; at the end there is one `then`, told the truth."""
    group = await bench.group(10_000, then='{"report":17}')
    claims = await bench.claim(group)
    assert await bench.counts(group) == (0, 10_000, 0, 0, 0)
    random.shuffle(claims)
    failing = {claim.id for claim in claims[:1_234]}

    async def finish(mine: list[Claim]) -> None:
        follow_up = bench.new_follow_up()
        while mine:
            some, mine = mine[:10], mine[10:]
            await bench.complete([claim for claim in some if claim.id not in failing], follow_up)
            await bench.fail([claim for claim in some if claim.id in failing], follow_up)

    finishing = asyncio.gather(*(finish(claims[i::50]) for i in range(50)))
    seen = [await bench.counts(group)]
    while not finishing.done():
        seen.append(await bench.counts(group))
    await finishing
    assert {sum(counts) for counts in seen} == {10_000}
    assert seen == sorted(seen, key=lambda counts: counts[2:4])
    assert len(seen) > 5
    assert await bench.counts(group) == (0, 0, 8_766, 1_234, 0)
    assert (await bench.read(group)).ended_at is not None
    told = {"id": str(group.id), "total": 10_000, "completed": 8_766, "failed": 1_234, "canceled": 0}
    assert await bench.then_told(group) == [{"report": 17, "group": told}]
    assert len(bench.events.of(GroupEnded)) == 1


async def test_the_last_two_at_once_end_it_once(bench: Bench) -> None:
    """200 groups of two, both members finished at the same time: each group ends, once."""
    groups = [await bench.group(2, then="{}") for _ in range(200)]

    async def finish_both(group: NewGroup) -> None:
        claims = await bench.claim(group)
        await asyncio.gather(*(bench.complete([claim], bench.new_follow_up()) for claim in claims))

    for some in (groups[i : i + 20] for i in range(0, 200, 20)):
        await asyncio.gather(*(finish_both(group) for group in some))
    assert sorted(event.group_id for event in bench.events.of(GroupEnded)) == sorted(group.id for group in groups)
    assert [len(await bench.then_told(group)) for group in groups] == [1] * 200


async def test_many_who_find_the_end_start_then_once(bench: Bench) -> None:
    """50 at once find a group that nobody has ended yet."""
    group = await bench.group(3, then="{}")
    await bench.complete(await bench.claim(group), None)
    await asyncio.gather(*(bench.new_follow_up().settle([group.id]) for _ in range(50)))
    assert len(bench.events.of(GroupEnded)) == 1
    assert len(await bench.then_told(group)) == 1


async def test_finishes_take_no_lock_on_their_group(bench: Bench, sql: Connection) -> None:
    """Somebody holds the group's row for as long as he likes: members finish, and ask whether it was the end."""
    group = await bench.group(3)
    first, *_ = await bench.claim(group)
    async with sql.transaction():
        await sql.execute("SELECT FROM groups WHERE id = $1 FOR UPDATE", group.id)
        async with asyncio.timeout(2):
            await bench.complete([first], bench.follow_up)
    assert await bench.counts(group) == (0, 2, 1, 0, 0)


async def test_an_end_that_nobody_noticed_is_found_by_the_sweep(bench: Bench) -> None:
    """The finisher died between its COMMIT and the question: a later sweep ends the group and starts `then`, once."""
    group = await bench.group(5, then="{}")
    await bench.complete(await bench.claim(group), None)
    assert (await bench.read(group)).ended_at is None
    assert (await look(bench.database, 10, [])).has_open_groups
    await asyncio.gather(*(GroupSweep(bench.database, bench.follow_up.settle).sweep() for _ in range(5)))
    await bench.sweep()
    assert (await bench.read(group)).ended_at is not None
    assert len(await bench.then_told(group)) == 1
    assert len(bench.events.of(GroupEnded)) == 1
    assert not (await look(bench.database, 10, [])).has_open_groups


async def test_a_sweep_looks_at_a_page_and_goes_on_from_there(bench: Bench, sql: Connection) -> None:
    """Behind 1,500 open groups with live members: the second sweep comes to it, and a third begins anew."""
    await sql.execute(
        "WITH made AS (INSERT INTO groups (id, on_failure, total) SELECT gen_random_uuid(), 'continue', 1"
        " FROM generate_series(1, 1500) RETURNING id)"
        " INSERT INTO tasks (id, kind, content, group_id) SELECT gen_random_uuid(), 'simulate', '1', id FROM made"
    )
    first, last = await bench.group(1), await bench.group(1)
    for group, group_id in ((first, UUID(int=1)), (last, UUID(int=2**128 - 1))):
        await sql.execute("UPDATE groups SET id = $2 WHERE id = $1", group.id, group_id)
        await sql.execute("UPDATE tasks SET group_id = $2 WHERE group_id = $1", group.id, group_id)
    await bench.complete(await bench.claim(last), None)
    await bench.sweep()
    assert bench.events.of(GroupEnded) == []
    await bench.complete(await bench.claim(first), None)
    await bench.sweep()
    assert [event.group_id for event in bench.events.of(GroupEnded)] == [UUID(int=2**128 - 1)]
    await bench.sweep()
    assert [event.group_id for event in bench.events.of(GroupEnded)][1:] == [UUID(int=1)]


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


async def test_a_group_that_a_client_cancels_starts_no_then(bench: Bench) -> None:
    """Its live members are canceled, without an error, since the client knows why; asked again, the same answer."""
    group = await bench.group(4, then="{}")
    claims = await bench.claim(replace(group, members=group.members[:2]))
    await bench.complete(claims[:1], bench.follow_up)
    first = await bench.canceler.cancel(group.id)
    assert first is not None
    assert first.canceled_at is not None
    assert first.ended_at is not None
    assert await bench.counts(group) == (0, 0, 1, 0, 3)
    assert await bench.canceler.cancel(group.id) == first
    assert await bench.then_told(group) == []
    assert await bench.database.fetch("SELECT FROM tasks WHERE error IS NOT NULL") == []
    assert await bench.canceler.cancel(uuid7()) is None


async def test_an_ended_group_is_not_canceled(bench: Bench) -> None:
    """Its end came first."""
    group = await bench.group(1, then="{}")
    await bench.complete(await bench.claim(group), bench.follow_up)
    canceled = await bench.canceler.cancel(group.id)
    assert canceled is not None
    assert canceled.canceled_at is None


async def test_a_cancel_that_died_half_way_is_finished_by_the_sweep(bench: Bench, sql: Connection) -> None:
    """The API marked the group and died."""
    group = await bench.group(3, then="{}")
    await bench.claim(replace(group, members=group.members[:1]))
    await sql.execute("UPDATE groups SET canceled_at = now()")
    await bench.sweep()
    assert await bench.counts(group) == (0, 0, 0, 0, 3)
    assert (await bench.read(group)).ended_at is not None
    assert await bench.then_told(group) == []


async def test_cancel_against_50_finishers(bench: Bench) -> None:
    """2,000 members finish while the group is canceled: who was told done is completed, the rest is canceled."""
    group = await bench.group(2_000, then="{}")
    claims = await bench.claim(group)
    done: list[UUID] = []

    async def finish(mine: list[Claim]) -> None:
        follow_up = bench.new_follow_up()
        for claim in mine:
            written = await complete(bench.database, [claim], [None])
            done.extend(written)
            follow_up.left(written.values())
        await follow_up.drain()

    finishing = asyncio.gather(*(finish(claims[i::50]) for i in range(50)))
    await until(lambda: _is_at_least(done, 50), every=0)
    canceled = await bench.canceler.cancel(group.id)
    assert canceled is not None
    assert (canceled.pending, canceled.processing) == (0, 0)
    await finishing
    assert await bench.counts(group) == (0, 0, len(done), 0, 2_000 - len(done))
    assert canceled == await bench.read(group)
    assert await bench.then_told(group) == []
    assert 50 <= len(done) < 2_000


async def test_cancel_and_end_at_the_same_time_have_one_winner(bench: Bench) -> None:
    """100 races: canceled, and no `then`; or ended, and `then`."""
    groups = [await bench.group(1, then="{}") for _ in range(100)]

    async def race(group: NewGroup) -> None:
        claims = await bench.claim(group)
        await asyncio.gather(bench.complete(claims, bench.new_follow_up()), bench.canceler.cancel(group.id))
        found = await bench.read(group)
        assert found.ended_at is not None
        assert len(await bench.then_told(group)) == (1 if found.canceled_at is None else 0)

    for some in (groups[i : i + 10] for i in range(0, 100, 10)):
        await asyncio.gather(*(race(group) for group in some))


async def test_a_retried_member_runs_again_while_the_group_is_open(bench: Bench) -> None:
    """Its group waits for it; after the end it runs alone, and `then` is not started again."""
    group = await bench.group(2, then="{}")
    reopener = Reopener(bench.database, bench.follow_up, bench.events)
    first, second = await bench.claim(group)
    await bench.fail([first], bench.follow_up)
    await reopener.reopen(first.id)
    await bench.complete([second], bench.follow_up)
    assert await bench.counts(group) == (1, 0, 1, 0, 0)
    assert await bench.then_told(group) == []
    await bench.fail(await bench.claim(group), bench.follow_up)
    (told,) = await bench.then_told(group)
    await reopener.reopen(first.id)
    assert (await bench.read(group)).ended_at is not None
    await bench.complete(await bench.claim(group), bench.follow_up)
    await bench.sweep()
    assert await bench.counts(group) == (0, 0, 2, 0, 0)
    assert await bench.then_told(group) == [told]


async def test_a_member_retried_while_its_group_is_stopping_is_canceled(bench: Bench) -> None:
    """Nobody has followed up its failure yet, and a client has it run again: the sweep stops it."""
    group = await bench.group(2, "cancel_rest")
    claims = await bench.claim(group)
    await bench.fail(claims[:1], None)
    await Reopener(bench.database, bench.follow_up, bench.events).reopen(claims[0].id)
    await bench.sweep()
    assert await bench.counts(group) == (0, 0, 0, 0, 2)


async def test_progress_is_summed_and_the_first_errors_are_told(bench: Bench, sql: Connection) -> None:
    """Over members that have reported any; a handler's word that is no number is passed over."""
    group = await bench.group(20)
    assert (await bench.read(group)).done is None
    said = ['{"done": 1, "total": 10}', '{"done": 2.5, "total": 10}', '{"done": "much", "total": 10}', "7"]
    for task, progress in zip(group.members, said, strict=False):
        await sql.execute("UPDATE tasks SET progress = $2::text::json WHERE id = $1", task.id, progress)
    found = await bench.read(group)
    assert (found.done, found.done_of) == ("3.5", "30")
    await sql.execute(
        """UPDATE tasks SET progress = '{"done": 0.1, "total": null}' WHERE id = $1""", group.members[9].id
    )
    found = await bench.read(group)
    assert (found.done, found.done_of) == ("3.6", None)
    claims = {claim.id: claim for claim in await bench.claim(group)}
    in_time = [task.id for task in group.members[::-1]]
    for task_id in in_time[:12]:
        await bench.fail([claims[task_id]], None)
    errors = json.loads((await bench.read(group)).errors)
    assert [error["task_id"] for error in errors] == [str(task_id) for task_id in in_time[:10]]
    assert errors[0].keys() == {"task_id", "code", "message", "attempt", "at"}


async def test_then_has_its_options(bench: Bench, sql: Connection) -> None:
    """What was said of it in the beginning holds for the task that is started; a delay counts from the end."""
    said = NewTask(uuid7(), "simulate", '{"a":"\\"}"}', traceparent="00-1-2-03", concurrency_key='k "1"')
    said = replace(said, max_attempts=3, timeout_seconds=1.5, concurrency_limit=2)
    group = NewGroup(uuid7(), [], "continue", said)
    group = replace(group, members=[NewTask(uuid7(), "simulate", "1", group_id=group.id)])
    await GroupCreator(bench.database, bench.wakeup, bench.follow_up, bench.events).create(group)
    await bench.complete(await bench.claim(group), bench.follow_up)
    row = dict((await sql.fetch("SELECT * FROM tasks WHERE id = $1", said.id))[0])
    for name in ("kind", "traceparent", "concurrency_key", "max_attempts", "timeout_seconds", "concurrency_limit"):
        assert row[name] == getattr(said, name)
    assert json.loads(row["content"])["a"] == '"}'
    assert row["group_id"] is None
    assert not row["is_blocked"]  # admitted right away: nobody has its key


async def test_a_group_whose_answer_is_lost_is_made_once(
    database_proxy: Proxy, redis_url: str, events: EventLog, sql: Connection
) -> None:
    """The COMMIT's answer is cut: the statement is sent again, and finds what it made."""
    database = Database(quick_settings(database_proxy.url, redis_url).database_url, 2, 2)
    wakeup = Wakeup(redis_url, events)
    group_id = uuid7()
    new = NewGroup(group_id, [NewTask(uuid7(), "simulate", '"CUT"', group_id=group_id) for _ in range(10)])
    database_proxy.cut_reply_to(lambda data: b'"CUT"' in data)
    group, _ = await GroupCreator(database, wakeup, FollowUp(database, wakeup, events), events).create(new)
    assert database_proxy.replies_cut == 1
    assert (group.total, group.pending) == (10, 10)
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 10
    assert await sql.fetchval("SELECT count(*) FROM groups") == 1
    await wakeup.close()
    await database.close()


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
    return bool((await wakeup._client.pubsub_numsub(CHANNEL))[0][1] == count)


async def _is_at_least(items: list[UUID], count: int) -> bool:
    return len(items) >= count
