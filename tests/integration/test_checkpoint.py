"""Checkpoints: what a handler writes commits together with its progress and cursor, behind the fence, or not at all."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.core.config import Settings
from app.core.errors import DatabaseUnavailableError, LostClaimError
from app.core.task import Claim
from app.db.engine import Database, work_database
from app.queue.cancel import Canceler
from app.queue.claim import claim_ids
from app.queue.finish import complete, release
from app.queue.progress import checkpoint, write_progress
from app.queue.recover import recover
from tests.conftest import quick_settings
from tests.integration.conftest import Insert, claimant
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import until


@pytest.fixture
async def work(settings: Settings) -> AsyncIterator[Database]:
    """The pool of handlers' work."""
    database = work_database(settings)
    yield database
    await database.close()


@pytest.fixture
async def claim(database: Database, insert: Insert, consumer_id: UUID, sql: Connection) -> Claim:
    """A task that runs, and a table for what its handler does."""
    await sql.execute("CREATE TABLE done (number int PRIMARY KEY)")
    return (await claim_ids(database, claimant(consumer_id), await insert()))[0]


async def _marks(sql: Connection) -> tuple[object, object]:
    progress, cursor = (await sql.fetch("SELECT progress::text, cursor::text FROM tasks"))[0]
    return progress and json.loads(progress), cursor and json.loads(cursor)


async def test_rows_progress_and_cursor_commit_together(work: Database, claim: Claim, sql: Connection) -> None:
    """Before the end of the block nothing is there; after it, all of it."""
    async with checkpoint(work, claim, '{"done": 1}', "[7]") as db:
        await db.execute("INSERT INTO done VALUES (1)")
        assert await sql.fetchval("SELECT count(*) FROM done") == 0
        assert await _marks(sql) == (None, None)
    assert await sql.fetchval("SELECT count(*) FROM done") == 1
    assert await _marks(sql) == ({"done": 1}, [7])


async def test_an_error_leaves_nothing(work: Database, claim: Claim, sql: Connection) -> None:
    """Neither the rows nor the marks; the claim is as good as before."""
    with pytest.raises(ZeroDivisionError):
        async with checkpoint(work, claim, '{"done": 1}', "1") as db:
            await db.execute("INSERT INTO done VALUES (1)")
            raise ZeroDivisionError
    assert await sql.fetchval("SELECT count(*) FROM done") == 0
    assert await _marks(sql) == (None, None)
    async with checkpoint(work, claim, None, "1"):
        pass
    assert await _marks(sql) == (None, 1)


async def test_an_error_of_the_handlers_is_its_own(work: Database, claim: Claim) -> None:
    """Not what it would mean if it came from the connection, which is as good as before."""
    async with work.connection() as connection:
        before = connection.get_server_pid()
    for error in (FileNotFoundError("no such file"), TimeoutError(), asyncpg.UndefinedTableError("no such table")):
        with pytest.raises(type(error)) as caught:
            async with checkpoint(work, claim, None, "1"):
                raise error
        assert caught.value is error
    async with work.connection() as connection:
        assert connection.get_server_pid() == before


async def test_what_is_not_given_stays(work: Database, claim: Claim, sql: Connection) -> None:
    """A checkpoint may move the cursor alone, or the progress alone."""
    async with checkpoint(work, claim, '{"done": 1}', "1"):
        pass
    async with checkpoint(work, claim, None, "2"):
        pass
    async with checkpoint(work, claim, '{"done": 3}', None):
        pass
    assert await _marks(sql) == ({"done": 3}, 2)


@pytest.mark.parametrize("when", ["before", "within"])
@pytest.mark.parametrize("how", ["canceled", "completed", "taken away"])
async def test_a_lost_claim_writes_nothing(
    when: str, how: str, database: Database, work: Database, claim: Claim, canceler: Canceler, sql: Connection
) -> None:
    """Whether the claim is lost before the block or within it, its rows are not there."""

    async def lose() -> None:
        match how:
            case "canceled":
                await canceler.cancel([claim.id])
            case "completed":
                await complete(database, [claim], [None])
            case _:
                await release(database, [(claim.id, claim.claim_id)])
                consumer = await sql.fetchval("SELECT id FROM consumers")
                await claim_ids(database, claimant(consumer), [claim.id])

    entered = False
    if when == "before":
        await lose()
    with pytest.raises(LostClaimError):
        async with checkpoint(work, claim, '{"done": 1}', "1") as db:
            entered = True
            await db.execute("INSERT INTO done VALUES (1)")
            await lose()
    assert entered == (when == "within")
    assert await sql.fetchval("SELECT count(*) FROM done") == 0
    assert await _marks(sql) == (None, None)


async def test_the_next_claim_begins_at_the_cursor(
    database: Database, work: Database, claim: Claim, consumer_id: UUID
) -> None:
    """Whatever ended the run before."""
    async with checkpoint(work, claim, None, '{"line": 300}'):
        pass
    await release(database, [(claim.id, claim.claim_id)])
    (again,) = await claim_ids(database, claimant(consumer_id), [claim.id])
    assert again.cursor is not None
    assert json.loads(again.cursor) == {"line": 300}


async def test_a_checkpoint_that_takes_long_holds_up_nobody(
    database: Database, work: Database, claim: Claim, canceler: Canceler, sql: Connection
) -> None:
    """Until it commits it locks nothing: a cancel is answered at once, and the sweep recovers others' tasks."""
    with pytest.raises(LostClaimError):
        async with checkpoint(work, claim, None, "1") as db:
            await db.execute("INSERT INTO done VALUES (1)")
            start = time.monotonic()
            (task,) = await canceler.cancel([claim.id])
            assert task is not None
            assert task.status == "canceled"
            await sql.execute("UPDATE consumers SET beat_at = now() - interval '1 hour'")
            await recover(database, 10, 3)
            assert time.monotonic() - start < 1
    assert await sql.fetchval("SELECT count(*) FROM done") == 0


async def test_a_frozen_checkpoint_lets_go_when_its_lease_is_over(
    database_url: str, redis_url: str, claim: Claim, sql: Connection
) -> None:
    """A zombie that sleeps within its block holds a row that the next run needs: PostgreSQL ends its transaction."""
    work = work_database(quick_settings(database_url, redis_url, lease_seconds=1.2))
    try:
        with pytest.raises(DatabaseUnavailableError):
            async with checkpoint(work, claim, None, "1") as db:
                await db.execute("INSERT INTO done VALUES (1)")
                start = time.monotonic()
                await sql.execute("INSERT INTO done VALUES (1)")  # waits for the other's, and then is alone
                assert 0.5 < time.monotonic() - start < 5
    finally:
        await work.close()
    assert await _marks(sql) == (None, None)


async def test_a_commit_without_an_answer_is_seen_at_the_next_claim(
    database_proxy: Proxy, settings: Settings, database: Database, claim: Claim, consumer_id: UUID, sql: Connection
) -> None:
    """The handler hears that PostgreSQL is away; the cursor tells its next run that the work was done."""
    work = work_database(settings.model_copy(update={"database_url": _driver(database_proxy.url)}))
    try:
        with pytest.raises(DatabaseUnavailableError):
            async with checkpoint(work, claim, None, "100") as db:
                await db.execute("INSERT INTO done VALUES (1)")
                database_proxy.cut_reply_to(lambda data: b"COMMIT" in data)
        assert database_proxy.replies_cut == 1
    finally:
        await work.close()
    assert await sql.fetchval("SELECT count(*) FROM done") == 1
    await release(database, [(claim.id, claim.claim_id)])
    (again,) = await claim_ids(database, claimant(consumer_id), [claim.id])
    assert again.cursor == "100"


async def test_progress_is_fenced_and_waits_for_nobody(
    database: Database, claim: Claim, canceler: Canceler, sql: Connection
) -> None:
    """Under another's claim nothing is written; a row that somebody holds is passed over."""
    other = Claim(claim.id, uuid4(), "simulate", "1", 1)
    await write_progress(database, [other], ['{"done": 9}'])
    assert (await _marks(sql))[0] is None
    async with sql.transaction():
        await sql.execute("SELECT FROM tasks FOR UPDATE")
        async with asyncio.timeout(1):
            await write_progress(database, [claim], ['{"done": 5}'])
    assert (await _marks(sql))[0] is None
    await write_progress(database, [claim], ['{"done": 6}'])
    assert (await _marks(sql))[0] == {"done": 6}
    await canceler.cancel([claim.id])
    await write_progress(database, [claim], ['{"done": 7}'])
    assert (await _marks(sql))[0] == {"done": 6}


async def test_handlers_work_has_all_plans(work: Database) -> None:
    """The queue's own sessions forbid scans; a handler's statements are none of the queue's."""
    assert [row[0] for row in await work.fetch("SHOW enable_seqscan")] == ["on"]
    assert [row[0] for row in await work.fetch("SHOW synchronous_commit")] == ["on"]
    lease = timedelta(milliseconds=1200)
    assert lease.total_seconds() == 1.2
    assert [row[0] for row in await work.fetch("SHOW idle_in_transaction_session_timeout")] == ["1200ms"]
    await until(lambda: work.fetch("SELECT 1"))


def _driver(url: str) -> str:
    return "postgresql+asyncpg://" + url.partition("://")[2]
