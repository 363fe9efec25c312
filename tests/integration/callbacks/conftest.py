"""Tasks and groups with a callback, to end."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.core.group import NewGroup
from app.core.task import Claim, ErrorCode, NewTask, Priority
from app.db.engine import Database
from app.handlers.callback.payload import Callback
from app.queue.cancel import Canceler
from app.queue.claim import claim_ids
from app.queue.create import Creator
from app.queue.create_group import GroupCreator
from app.queue.finish import Failure, complete, fail
from app.queue.follow_up import FollowUp
from app.queue.retry import Reopener
from app.queue.wakeup import Wakeup
from tests.integration.conftest import claimant
from tests.support.waiting import EventLog

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
