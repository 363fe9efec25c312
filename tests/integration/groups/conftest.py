"""Groups to finish, fail and cancel."""

import json
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.core.config import Settings
from app.core.group import Group, NewGroup, OnFailure
from app.core.task import Claim, ErrorCode, NewTask
from app.db.engine import Database
from app.queue.cancel_group import GroupCanceler
from app.queue.claim import claim_ids
from app.queue.create_group import GroupCreator
from app.queue.finish import Failure, complete, fail
from app.queue.follow_up import FollowUp
from app.queue.read_group import read_groups
from app.queue.settle import GroupSweep
from app.queue.wakeup import Wakeup
from tests.integration.conftest import claimant
from tests.support.waiting import EventLog

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
