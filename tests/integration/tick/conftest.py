"""Schedules that are due."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from app.core.recurrence import Recurrence
from app.core.schedule import Missed, NewSchedule
from app.db.engine import Database
from app.queue.schedule import put_schedule
from app.queue.tick import Ticker
from app.queue.wakeup import Wakeup
from tests.support.types import Connection
from tests.support.waiting import EventLog

Put = Callable[..., Awaitable[None]]

EVERY_MINUTE = Recurrence("* * * * *", "UTC")
EVERY_YEAR = Recurrence("0 0 1 1 *", "UTC")  # so that no tick comes while a test looks


@pytest.fixture
def put(database: Database, sql: Connection) -> Put:
    """Make a schedule of every minute whose next tick was `seconds` ago by PostgreSQL's clock."""

    async def put_due(
        name: str = "minutely",
        seconds: float = 1,
        missed: Missed = Missed.SKIP,
        kind: str = "simulate",
        recurrence: Recurrence = EVERY_YEAR,
    ) -> None:
        await put_schedule(database, NewSchedule(name, recurrence, kind, '{"a":  1}', missed, enabled=True))
        ago = timedelta(seconds=seconds)
        await sql.execute(
            "UPDATE schedules SET next_run_at = clock_timestamp() - $2::interval WHERE name = $1", name, ago
        )

    return put_due


@pytest.fixture
def ticker(database: Database, wakeup: Wakeup, events: EventLog) -> Ticker:
    """What each consumer has."""
    return Ticker(database, wakeup, events)
