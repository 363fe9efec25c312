"""The order in which words of progress reach the table."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from app.consumer.progress import ProgressWriter
from app.consumer.tools import Toolbox
from app.core.config import Settings
from app.core.task import Claim
from app.db.engine import Database
from app.handler_api.context import Options, Progress
from app.handlers import Catalog
from app.queue.claim import claim_due
from app.queue.read_group import read_groups
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.integration.conftest import WANTED, Insert, claimant
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


@pytest.fixture
async def claim(database: Database, insert: Insert, consumer_id: UUID) -> Claim:
    """A task that runs."""
    await insert()
    return (await claim_due(database, claimant(consumer_id), 1, WANTED))[0]


@pytest.fixture
async def toolbox(settings: Settings, database: Database, wakeup: Wakeup, events: EventLog) -> AsyncIterator[Toolbox]:
    """What handlers use."""
    toolbox = Toolbox(settings, Catalog.load(settings), database, wakeup, events)
    yield toolbox
    await toolbox.close()


async def _write_under_way(writer: ProgressWriter) -> None:
    async def fact() -> bool:
        return bool(writer._in_flight)

    await until(fact)


async def test_an_older_word_never_follows_a_checkpoint(
    settings: Settings, database: Database, toolbox: Toolbox, claim: Claim, sql: Connection
) -> None:
    """It is on its way, and waits for a connection, when the checkpoint comes: the checkpoint waits for it."""
    task = toolbox.context(claim, Options(), lambda: False, None)

    async def work() -> None:
        async with task.checkpoint(progress=Progress(100, 100), cursor=100):
            pass

    async with AsyncExitStack() as busy:
        for _ in range(settings.database_pool_size):
            await busy.enter_async_context(database.connection())
        task.progress(50, 100)
        await _write_under_way(toolbox.progress)
        assert toolbox.progress.is_unwritten(claim)  # else its outcome would be recorded before it
        working = asyncio.create_task(work())
        await until(lambda: sql.fetch("SELECT FROM pg_stat_activity WHERE state = 'idle in transaction'"))
    await working
    assert not toolbox.progress.is_unwritten(claim)
    assert json.loads(await sql.fetchval("SELECT progress::text FROM tasks"))["done"] == 100


async def test_a_message_can_be_read_in_every_way(
    database: Database, toolbox: Toolbox, claim: Claim, sql: Connection
) -> None:
    """Groups are summed up by JSONB, which takes no NUL; and it is not endless."""
    group_id = uuid4()
    await sql.execute("INSERT INTO groups (id, on_failure, total) VALUES ($1, 'continue', 1)", group_id)
    await sql.execute("UPDATE tasks SET group_id = $1", group_id)
    toolbox.context(claim, Options(), lambda: False, None).progress(1, 2, "a\0b" + "x" * 10_000)
    await toolbox.progress.flush()
    assert (await read_groups(database, [group_id]))[group_id].done == "1"
    message = json.loads(await sql.fetchval("SELECT progress::text FROM tasks"))["message"]
    assert message.startswith("a\ufffdbx")
    assert len(message) == 2_000


def test_a_message_is_text(toolbox: Toolbox, claim: Claim) -> None:
    """Whatever else would be kept unread, and might not be legible to whom sums up its group."""
    context = toolbox.context(claim, Options(), lambda: False, None)
    with pytest.raises(TypeError, match="the message of a progress is text, not list"):
        context.progress(1, 2, ["a\0"])  # type: ignore[arg-type]


async def test_tools_are_closed_in_time(database_proxy: Proxy, redis_url: str, events: EventLog) -> None:
    """Also where a handler has canceled tasks, and PostgreSQL hangs before what follows that."""
    settings = quick_settings(database_proxy.url, redis_url)
    database, wakeup = Database(settings.database_url, 2, 10), Wakeup(redis_url, events)
    toolbox = Toolbox(settings, Catalog.load(settings), database, wakeup, events)
    await database.fetch("SELECT 1")
    database_proxy.freeze()
    toolbox._follow_up.freed(["k"])
    async with asyncio.timeout(3):
        await toolbox.close()
    database_proxy.thaw()
    await toolbox.drain()
    await wakeup.close()
    await database.close()
