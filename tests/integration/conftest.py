"""Rows and consumers to test with."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from app.consumer.forks import Forks
from app.core.task import Hint, NewTask, Priority
from app.db.engine import SESSION, Database
from app.queue.cancel import Canceler
from app.queue.claim import Claimant
from app.queue.create import Creator
from app.queue.follow_up import FollowUp
from app.queue.recover import register
from app.queue.wakeup import Wakeup, list_name
from tests.conftest import quick_settings
from tests.support.forking import fork_server
from tests.support.types import Connection
from tests.support.waiting import EventLog

Insert = Callable[..., Awaitable[list[UUID]]]


def new_task(content: str = '"x"') -> NewTask:
    """A task to create."""
    return NewTask(uuid7(), "simulate", content)


WANTED = [(priority, "simulate") for priority in Priority]
LIST = list_name(Priority.NORMAL, "simulate")  # where the ids of new_task() go


# Of a claim each row takes 30 ms.
SLOW_CLAIMS = """
CREATE FUNCTION slow_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.03); RETURN NEW; END $$;
CREATE TRIGGER slow_claim BEFORE UPDATE ON tasks FOR EACH ROW WHEN (NEW.status = 'processing')
    EXECUTE FUNCTION slow_claim()
"""


def hint(task_id: UUID) -> Hint:
    """What Redis is told of a new_task()."""
    return Hint(task_id, "simulate", Priority.NORMAL)


def creator(database: Database, wakeup: Wakeup, events: EventLog) -> Creator:
    """Creates, as the API does."""
    return Creator(database, wakeup, FollowUp(database, wakeup, events), events)


def claimant(consumer_id: UUID, *kinds: str) -> Claimant:
    """A consumer that knows these kinds."""
    return Claimant(consumer_id, kinds or ["simulate"])


async def waiting_for_a_lock(database: Database) -> list[int]:
    """The backends that do. Not to be asked within a transaction, which would see the same ones for ever."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return [row[0] for row in await database.fetch(waiting)]


@pytest.fixture
async def forks() -> AsyncIterator[Forks]:
    """Of a fork server that has this process's environment."""
    died: list[BaseException] = []
    started = Forks(fork_server(), died.append)
    yield started
    started.close()
    assert not died


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
    await register(database, consumer_id, "test", 1, ["simulate"])
    return consumer_id


@pytest.fixture
async def clock_ahead(database_url: str, sql: Connection) -> AsyncIterator[Database]:
    """The same database, where PostgreSQL's clock is an hour ahead of everybody else's."""
    await sql.execute("CREATE SCHEMA ahead")
    for clock in ("now", "clock_timestamp"):
        body = f"SELECT pg_catalog.{clock}() + interval '1 hour'"
        await sql.execute(f"CREATE FUNCTION ahead.{clock}() RETURNS timestamptz STABLE LANGUAGE sql AS $${body}$$")
    url = quick_settings(database_url, "redis://unused").database_url
    database = Database(url, 2, 10, SESSION | {"search_path": "ahead, pg_catalog, public"})
    yield database
    await database.close()
