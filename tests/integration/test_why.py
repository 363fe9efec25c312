"""Why a task is not running: what one snapshot of the database says."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.core.why import MOST_COUNTED, Reason, Why
from app.db.engine import Database
from app.queue.claim import claim_ids
from app.queue.finish import snooze
from app.queue.recover import register
from app.queue.why import read_why
from tests.integration.conftest import Insert, claimant
from tests.support.types import Connection


@pytest.fixture(autouse=True)
async def consumer(consumer_id: UUID) -> UUID:
    """Some consumer serves the kind."""
    return consumer_id


async def _why(database: Database, task_id: UUID, *kinds: str) -> Why:
    why = await read_why(database, task_id, "default", kinds or ["simulate"], 10)
    assert why is not None
    return why


async def test_a_place_in_line_counts_all_that_comes_first(database: Database, insert: Insert, sql: Connection) -> None:
    """Higher priorities that are due, whatever is older, and of one batch the earlier ids; no others."""
    ids = await insert(5)
    assert [(await _why(database, task_id)).ahead for task_id in ids] == [0, 1, 2, 3, 4]
    high, later, other, blocked = await insert(4)
    await sql.execute("UPDATE tasks SET priority = 0 WHERE id = ANY($1::uuid[])", [high, later])
    await sql.execute("UPDATE tasks SET run_at = now() + interval '1 hour' WHERE id = $1", later)
    await sql.execute("UPDATE tasks SET kind = 'other', priority = 0 WHERE id = $1", other)
    await sql.execute("UPDATE tasks SET priority = 0, concurrency_key = 'k', is_blocked = true WHERE id = $1", blocked)
    why = await _why(database, ids[1])
    assert (why.reason, why.ahead, why.seconds) == (Reason.IN_LINE, 2, None)
    await sql.execute("INSERT INTO task_deltas SELECT 'simulate', 'completed', 4")
    why = await _why(database, ids[1], "simulate", "other")
    assert why.ahead == 3
    assert why.seconds is not None
    assert 0.5 < why.seconds < 3


async def test_counting_ends_at_ten_thousand(database: Database, insert: Insert, sql: Connection) -> None:
    """More than that is said to be more, and no time is told."""
    await insert(MOST_COUNTED + 500)
    await sql.execute("INSERT INTO task_deltas SELECT 'simulate', 'completed', 4")
    why = await _why(database, (await insert(1))[0])
    assert (why.ahead, why.seconds) == (MOST_COUNTED + 1, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("lost_count = 2", Reason.QUARANTINE),
        ("run_at = now() + interval '1 hour'", Reason.LATER),
        ("run_at = now() + interval '1 hour', is_blocked = true, concurrency_key = 'k'", Reason.LATER),
        ("is_blocked = true, concurrency_key = 'k'", Reason.IN_LINE),  # its key has a place: the next sweep sees it
        ("status = 'failed'", Reason.ENDED),
        ("kind = 'nobodys'", Reason.NO_CONSUMER),
    ],
)
async def test_each_reason(change: str, reason: Reason, database: Database, insert: Insert, sql: Connection) -> None:
    """A row that is so."""
    (task_id,) = await insert()
    await sql.execute(f"UPDATE tasks SET {change}")
    assert (await _why(database, task_id)).reason is reason


async def test_who_comes_first_for_a_key(database: Database, insert: Insert, sql: Connection) -> None:
    """Those that hold its places, by the lowest limit, and those that wait and are due before it."""
    ids = await insert(6)
    await sql.execute("UPDATE tasks SET concurrency_key = 'k', concurrency_limit = 3, is_blocked = true")
    await sql.execute(
        "UPDATE tasks SET is_blocked = false, concurrency_limit = 2, tenant = 't' WHERE id = ANY($1::uuid[])", ids[:2]
    )
    await sql.execute("UPDATE tasks SET run_at = now() + interval '1 hour' WHERE id = $1", ids[3])
    why = await _why(database, ids[5])
    assert why.reason is Reason.LIMIT
    assert why.place is not None
    assert (why.place.limit, why.place.held, why.place.ahead) == (2, 2, 2)
    assert why.place.held_by == [(ids[0], "t"), (ids[1], "t")]


async def test_consumers_that_do_not_beat_serve_nobody(database: Database, insert: Insert, sql: Connection) -> None:
    """Nor does one in quarantine, which registers without kinds."""
    (task_id,) = await insert()
    assert (await _why(database, task_id)).reason is Reason.IN_LINE
    await register(database, uuid4(), "test", 2, [])
    await sql.execute("UPDATE consumers SET beat_at = now() - interval '11 seconds' WHERE kinds <> '{}'")
    assert (await _why(database, task_id)).reason is Reason.NO_CONSUMER


async def test_a_snooze_is_no_retry(database: Database, insert: Insert, consumer_id: UUID, sql: Connection) -> None:
    """It is just due later, also where an earlier attempt has failed."""
    (task_id,) = await insert()
    await sql.execute(
        """UPDATE tasks SET attempt = 1, history = '[{"at": "2024-10-28T08:04:09.412083Z", "attempt": 1}]'"""
    )
    claims = await claim_ids(database, claimant(consumer_id), [task_id])
    until: Any = datetime.fromisoformat("2100-01-01T00:00:00+00:00")
    assert await snooze(database, claims, [until])
    assert (await _why(database, task_id)).reason is Reason.LATER


async def test_there_may_be_no_such_task(database: Database) -> None:
    """Deleted since it was looked for."""
    assert await read_why(database, uuid4(), None, [], 10) is None
