"""What it costs a task to be a member of a group, and what a counter in the group's row would cost.

    python -m bench.groups [--tasks 3000] [--rounds 5]

50 finishers, each as a consumer of its own that finishes one task at a time: it writes the completion, and asks whether
that was the end of a group, while it finishes the next. The same number of tasks in each way, in turns, so that what
else the machine does hits all alike; read the ratios. The ways:

- `no group`: tasks that belong to none: nothing to ask;
- `50 groups`, `one group`: members, spread over 50 groups or all of the same. Whatever one group serialises shows as
  the difference between the two; what they have in common is the price of asking, a second statement for each finish;
- `one group, one consumer`: the 50 finishers ask together, as the tasks of one consumer do;
- `one group, counter`: what is avoided. The statement that completes a member also adds one to a counter in the row of
  its group, as one would first think of it: each holds the row until its COMMIT is on the disk, so that all wait for
  one another. It would know the end without asking, so nothing is asked.

Then, for one group of 10,000 members: to create, count and cancel it; and a sweep over 10,000 open groups.

Uses the PostgreSQL at DATABASE_URL, in a database of its own that is dropped at the end, and Redis at REDIS_URL; else
embedded servers, with fsync on.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Sequence
from statistics import median
from uuid import UUID, uuid4

from uuid_utils.compat import uuid7

from app.core.group import NewGroup
from app.core.task import Claim, NewTask
from app.db.engine import Database
from app.db.migrate import migrate
from app.queue import finish
from app.queue.cancel_group import GroupCanceler
from app.queue.claim import Claimant, claim_ids
from app.queue.create_group import GroupCreator
from app.queue.follow_up import FollowUp
from app.queue.read_group import read_groups
from app.queue.recover import register
from app.queue.settle import GroupSweep
from app.queue.wakeup import Wakeup
from bench.databases import new_database
from bench.servers import bench_servers

FINISHERS = 50
PLAIN = "no group"
MANY = "50 groups"

COMPLETE = finish._COMPLETE  # noqa: SLF001 - measured as it is
# The same statement, and the counter.
COMPLETE_AND_COUNT = (
    COMPLETE.replace("UPDATE tasks SET", ", done AS (UPDATE tasks SET", 1)
    + """
), counted AS (
    UPDATE groups SET finished = finished + 1 WHERE id IN (SELECT group_id FROM done)
)
SELECT * FROM done
"""
)


class Bench:
    """A database to measure on."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.database = Database(database_url, 2 * FINISHERS, 60)
        self.wakeup = Wakeup(redis_url, lambda _: None)
        self.consumer_id = uuid4()
        self.follow_up = self.new_follow_up()
        self.creator = GroupCreator(self.database, self.wakeup, self.follow_up, lambda _: None)
        self.canceler = GroupCanceler(self.database, self.follow_up, lambda _: None)

    def new_follow_up(self) -> FollowUp:
        """As each consumer has one."""
        return FollowUp(self.database, self.wakeup, lambda _: None)

    async def claims(self, tasks: int, groups: int) -> list[Claim]:
        """Running tasks, in as many groups; 0 groups: in none. One member of each group stays, so that none ends."""
        ids: list[UUID] = []
        for _ in range(max(groups, 1)):
            group = new_group(tasks // max(groups, 1) + 1)
            if groups:
                await self.creator.create(group)
            else:
                await self.database.fetch(
                    "INSERT INTO tasks (id, kind, content) SELECT id, 'simulate', '{}' FROM unnest($1::uuid[]) AS id",
                    [task.id for task in group.members],
                )
            ids += [task.id for task in group.members][1:]
        return await claim_ids(self.database, Claimant(self.consumer_id, ["simulate"]), ids)

    async def finish(self, claims: Sequence[Claim], consumers: int, statement: str) -> float:
        """Finishes a second, by all finishers, and what follows."""
        follow_ups: list[FollowUp | None] = [self.new_follow_up() for _ in range(consumers)] or [None]
        start = time.perf_counter()
        await asyncio.gather(
            *(self._finish(claims[i::FINISHERS], statement, follow_ups[i % len(follow_ups)]) for i in range(FINISHERS))
        )
        return len(claims) / (time.perf_counter() - start)

    async def _finish(self, claims: Sequence[Claim], statement: str, follow_up: FollowUp | None) -> None:
        for claim in claims:
            rows = await self.database.fetch(statement, [claim.id], [claim.claim_id], [None])
            if follow_up is not None:
                follow_up.left([finish.Left(*row) for row in rows])
        if follow_up is not None:
            await follow_up.drain()

    async def close(self) -> None:
        """Close the connections."""
        await self.wakeup.close()
        await self.database.close()


def new_group(members: int) -> NewGroup:
    """A group that does nothing."""
    group_id = uuid7()
    return NewGroup(group_id, [NewTask(uuid7(), "simulate", "{}", group_id=group_id) for _ in range(members)])


async def compare_finishes(bench: Bench, tasks: int, rounds: int) -> None:
    """Print finishes a second of each way, and the ratios to two of them, round by round."""
    ways: dict[str, tuple[int, int, str]] = {
        PLAIN: (0, FINISHERS, COMPLETE),
        MANY: (50, FINISHERS, COMPLETE),
        "one group": (1, FINISHERS, COMPLETE),
        "one group, one consumer": (1, 1, COMPLETE),
        "one group, counter": (1, 0, COMPLETE_AND_COUNT),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            groups, consumers, statement = ways[name]
            speed = await bench.finish(await bench.claims(tasks, groups), consumers, statement)
            if number:  # the first round is to warm up
                found[name].append(speed)
    print(f"{FINISHERS} finishers, one task a statement, {tasks:,} tasks, {rounds} rounds\n")
    print(f"{'':<25}{'finishes/s: median (min-max)':<30}{'to no group':<20}to 50 groups")
    for name, speeds in found.items():
        print(f"{name:<25}{_spread(speeds, ',.0f'):<30}{_ratio(speeds, found[PLAIN]):<20}{_ratio(speeds, found[MANY])}")


def _ratio(speeds: Sequence[float], others: Sequence[float]) -> str:
    return _spread([speed / other for speed, other in zip(speeds, others, strict=True)], ".2f")


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


async def time_calls(bench: Bench, rounds: int) -> None:
    """Print what the calls on a large group take, and a sweep over many."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        group = new_group(10_000)
        await _timed(times, "create a group of 10,000", bench.creator.create(group))
        await _timed(times, "count it", read_groups(bench.database, [group.id]))
        await _timed(times, "ask whether it has ended", bench.follow_up.settle([group.id]))
        await _timed(times, "cancel it, and end it", bench.canceler.cancel(group.id))
    await bench.database.fetch(
        "WITH made AS (INSERT INTO groups (id, on_failure, total) SELECT gen_random_uuid(), 'continue', 1"
        " FROM generate_series(1, 10000) RETURNING id)"
        " INSERT INTO tasks (id, kind, content, group_id) SELECT gen_random_uuid(), 'simulate', '1', id FROM made"
    )
    sweep = GroupSweep(bench.database, bench.follow_up.settle)
    for _ in range(10):
        await _timed(times, "a sweep, of 10,000 open groups", sweep.sweep())
    print(f"\n{'':<34}ms: median (min-max)")
    for name, milliseconds in times.items():
        print(f"{name:<34}{_spread(milliseconds, '.1f')}")


async def _timed(times: dict[str, list[float]], name: str, call: Awaitable[object]) -> None:
    start = time.perf_counter()
    await call
    times.setdefault(name, []).append((time.perf_counter() - start) * 1_000)


async def measure(database_url: str, redis_url: str, tasks: int, rounds: int) -> None:
    """All of it, in a database of its own."""
    async with new_database(database_url) as address:
        url = "postgresql+asyncpg://" + address.partition("://")[2]
        await asyncio.to_thread(migrate, url)
        bench = Bench(url, redis_url)
        await bench.database.fetch("ALTER TABLE groups ADD finished int NOT NULL DEFAULT 0")
        await register(bench.database, bench.consumer_id, "bench", 1, ["simulate"])
        await compare_finishes(bench, tasks, rounds)
        await time_calls(bench, rounds)
        await bench.close()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.groups", description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=3_000, help="finished in each round, in each way")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with bench_servers() as servers:
        asyncio.run(measure(servers.database_url, servers.redis_url, arguments.tasks, arguments.rounds))


if __name__ == "__main__":
    main()
