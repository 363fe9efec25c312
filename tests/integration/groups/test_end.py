"""A group counts exactly, ends once and starts `then` once, whoever finishes or dies when."""

import asyncio
import random
from uuid import UUID

from app.core.events import GroupEnded
from app.core.group import NewGroup
from app.core.task import Claim
from app.queue.recover import look
from app.queue.retry import Reopener
from app.queue.settle import GroupSweep
from tests.integration.groups.conftest import Bench
from tests.support.types import Connection


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
