"""Groups that a client cancels, while others finish them."""

import asyncio
from dataclasses import replace
from uuid import UUID

from uuid_utils.compat import uuid7

from app.core.group import NewGroup
from app.core.task import Claim
from app.queue.finish import complete
from tests.integration.groups.conftest import Bench
from tests.support.types import Connection
from tests.support.waiting import until


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


async def _is_at_least(items: list[UUID], count: int) -> bool:
    return len(items) >= count
