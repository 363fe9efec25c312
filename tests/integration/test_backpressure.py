"""MAX_PENDING: exact for one process, with one look at the counters a second."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus

import pytest

from app.api import backpressure
from app.api.backpressure import Backpressure
from app.api.errors import ProblemError
from app.core.config import Settings
from app.core.errors import DatabaseUnavailableError
from app.core.idempotency import IdempotencyKey
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.counts import read_loads
from app.queue.create_keyed import KeyedCreator
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.integration.conftest import Insert, new_task
from tests.support.proxy import EXECUTE, Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog

LIMIT = 50


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    """With the kinds of tests/handlers/work.py: queues `default` and `slow`."""
    return Catalog.load(settings.model_copy(update={"handler_modules": "tests.handlers.work"}))


async def _create(pressure: Backpressure, insert: Insert, count: int = 1) -> int:
    """The status of the answer."""
    try:
        async with pressure.room(["simulate"] * count):
            await insert(count)
    except ProblemError as error:
        return error.status
    return HTTPStatus.CREATED


async def test_many_at_once_share_a_look_and_fill_it_exactly(
    catalog: Catalog, database_proxy: Proxy, redis_url: str, insert: Insert, sql: Connection
) -> None:
    """200 at once, of which there is room for 50, on one look of two statements; another queue has its own room."""
    watched = Database(quick_settings(database_proxy.url, redis_url).database_url, 2, 2)
    pressure = Backpressure(LIMIT, catalog, watched)
    await read_loads(watched)  # connected, and the statement is prepared
    database_proxy.requests.clear()
    answers = await asyncio.gather(*(_create(pressure, insert) for _ in range(200)))
    assert answers.count(HTTPStatus.CREATED) == LIMIT
    assert answers.count(HTTPStatus.TOO_MANY_REQUESTS) == 200 - LIMIT
    assert sum(request.count(EXECUTE) for request in database_proxy.requests) == 2
    assert await sql.fetchval("SELECT count(*) FROM tasks") == LIMIT
    async with pressure.room(["slow_sleep"] * LIMIT):
        pass
    await watched.close()


async def test_what_fails_gives_its_room_back(catalog: Catalog, database: Database, insert: Insert) -> None:
    """So does what ends; and a look that fails leaves everything as it was."""
    pressure = Backpressure(LIMIT, catalog, database)
    with pytest.raises(DatabaseUnavailableError):
        async with pressure.room(["simulate"] * LIMIT):
            raise DatabaseUnavailableError
    assert await _create(pressure, insert, LIMIT) == HTTPStatus.CREATED
    assert await _create(pressure, insert) == HTTPStatus.TOO_MANY_REQUESTS
    assert await _create(pressure, insert, LIMIT + 1) == HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize(("ended", "retry_after"), [(0, "60"), (10, "2"), (1, "20"), (10_000, "1")])
async def test_retry_after_is_the_time_that_the_excess_takes(
    ended: int,
    retry_after: str,
    catalog: Catalog,
    database: Database,
    insert: Insert,
    sql: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """70 wait, one comes: 21 too many, at so many a second."""
    await insert(LIMIT + 20)
    monkeypatch.setattr(backpressure, "LOOK_SECONDS", 0)
    # Half a second's worth in half a second: a shorter time than a second counts as one.
    await sql.execute("INSERT INTO task_deltas SELECT 'simulate', 'completed', $1 WHERE $1 > 0", ended)
    pressure = Backpressure(LIMIT, catalog, database)
    with pytest.raises(ProblemError) as refused:
        async with pressure.room(["simulate"]):
            pass
    assert refused.value.status == HTTPStatus.TOO_MANY_REQUESTS
    assert int(retry_after) <= int(refused.value.headers["Retry-After"]) <= 2 * int(retry_after)


async def test_a_known_idempotency_key_needs_no_room(
    catalog: Catalog, database: Database, insert: Insert, wakeup: Wakeup, events: EventLog
) -> None:
    """Whose answer was lost hears of the task that there is, however full its queue is; a new key is refused."""
    hour = timedelta(hours=1)
    known, new = IdempotencyKey(b"known", b"a"), IdempotencyKey(b"new", b"a")
    task = replace(new_task(), idempotency=known)
    await KeyedCreator(database, wakeup, FollowUp(database, wakeup, events), events, hour).create([task])
    await insert(LIMIT)
    pressure = Backpressure(LIMIT, catalog, database, hour)
    for count in (1, LIMIT + 1):
        async with pressure.room(["simulate"] * count, known):
            pass
        with pytest.raises(ProblemError):
            async with pressure.room(["simulate"] * count, new):
                pass
    expired = Backpressure(LIMIT, catalog, database, timedelta())
    with pytest.raises(ProblemError):
        async with expired.room(["simulate"], known):
            pass
