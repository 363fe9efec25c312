"""Rows and consumers to test with."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from app.core.task import Hint, NewTask, Priority
from app.db.engine import Database
from app.queue.cancel import Canceler
from app.queue.claim import Claimant
from app.queue.create import Creator
from app.queue.follow_up import FollowUp
from app.queue.recover import register
from app.queue.wakeup import Wakeup, list_name
from tests.support.waiting import EventLog

Insert = Callable[..., Awaitable[list[UUID]]]


def new_task(content: str = '"x"') -> NewTask:
    """A task to create."""
    return NewTask(uuid7(), "simulate", content)


WANTED = [(priority, "simulate") for priority in Priority]
LIST = list_name(Priority.NORMAL, "simulate")  # where the ids of new_task() go


def hint(task_id: UUID) -> Hint:
    """What Redis is told of a new_task()."""
    return Hint(task_id, "simulate", Priority.NORMAL)


def creator(database: Database, wakeup: Wakeup, events: EventLog) -> Creator:
    """Creates, as the API does."""
    return Creator(database, wakeup, FollowUp(database, wakeup, events), events)


def claimant(consumer_id: UUID, *kinds: str) -> Claimant:
    """A consumer that knows these kinds."""
    return Claimant(consumer_id, kinds or ["simulate"])


@pytest.fixture
def insert(database: Database) -> Insert:
    """Insert pending tasks, in order; their ids."""

    async def insert_tasks(count: int = 1, content: str = '"x"') -> list[UUID]:
        ids = [uuid7() for _ in range(count)]
        await database.fetch(
            "INSERT INTO tasks (id, kind, content) SELECT id, 'simulate', $2::text::json FROM unnest($1::uuid[]) id",
            ids,
            content,
        )
        return ids

    return insert_tasks


@pytest.fixture
def follow_up(database: Database, wakeup: Wakeup, events: EventLog) -> FollowUp:
    """What follows when tasks have left."""
    return FollowUp(database, wakeup, events)


@pytest.fixture
def canceler(database: Database, wakeup: Wakeup, follow_up: FollowUp, events: EventLog) -> Canceler:
    """Cancels, as the API does."""
    return Canceler(database, wakeup, follow_up, events)


@pytest.fixture
async def consumer_id(database: Database) -> UUID:
    """The id of a consumer with a lease."""
    consumer_id = uuid4()
    await register(database, consumer_id, "test", 1)
    return consumer_id
