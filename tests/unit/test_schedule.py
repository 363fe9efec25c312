"""What is due of a schedule, and what was missed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.recurrence import Recurrence
from app.core.schedule import GRACE, Missed, due, is_name

EVERY_MINUTE = Recurrence("* * * * *", "UTC")
HOURLY = Recurrence("0 * * * *", "UTC")


def _at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2024-05-01T{clock}+00:00")


# Expression, the first tick without a task, the time now; the tasks by `skip` and by `run_once`, the next tick, and the
# ticks that were missed.
CASES = {
    "on time": (HOURLY, "10:00:00", "10:00:01.5", ["10:00"], ["10:00"], "11:00", None),
    "to the moment": (HOURLY, "10:00:00", "10:00:00", ["10:00"], ["10:00"], "11:00", None),
    "at the end of the grace": (HOURLY, "10:00:00", "10:01:00", ["10:00"], ["10:00"], "11:00", None),
    "after the grace": (HOURLY, "10:00:00", "10:01:00.1", [], ["10:00"], "11:00", ("10:00", "10:00")),
    "several": (HOURLY, "07:00:00", "10:30:00", [], ["10:00"], "11:00", ("07:00", "10:00")),
    "several, and one on time": (
        *(HOURLY, "07:00:00", "10:00:30", ["10:00"], ["09:00", "10:00"], "11:00", ("07:00", "09:00")),
    ),
    "two on time": (EVERY_MINUTE, "10:00:00", "10:01:00", ["10:00", "10:01"], ["10:00", "10:01"], "10:02", None),
    "many, and one on time": (
        *(EVERY_MINUTE, "00:00:00", "10:00:30", ["10:00"], ["09:59", "10:00"], "10:01", ("00:00", "09:59")),
    ),
    "a tick that the expression no longer has": (
        *(HOURLY, "09:30:17", "09:30:20", ["09:30:17"], ["09:30:17"], "10:00", None),
    ),
    "such a tick, missed": (HOURLY, "09:30:17", "09:45:00", [], ["09:30:17"], "10:00", ("09:30:17", "09:30:17")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_due(case: tuple[Recurrence, str, str, list[str], list[str], str, tuple[str, str] | None]) -> None:
    """Ticks of the last minute have their tasks; of older ones the last, or none."""
    recurrence, first, now, *by_policy, next_run_at, missed = case
    for policy, ticks in zip((Missed.SKIP, Missed.RUN_ONCE), by_policy, strict=True):
        found = due(recurrence, _at(first), _at(now), policy)
        assert found.ticks == [_at(tick) for tick in ticks]
        assert found.next_run_at == _at(next_run_at)
        assert found.missed == (missed and (_at(missed[0]), _at(missed[1])))


@given(
    st.sampled_from([EVERY_MINUTE, HOURLY, Recurrence("*/7 1-3 * * *", "Europe/Berlin")]),
    st.lists(st.floats(0.1, 20_000), min_size=1, max_size=20),
    st.sampled_from(Missed),
)
def test_whenever_somebody_looks_each_tick_is_dealt_with_once(
    recurrence: Recurrence, waits: list[float], policy: Missed
) -> None:
    """However long the waits: no tick runs twice, none within the grace is left out, and what is next is to come."""
    now = start = datetime(2024, 10, 26, 22, 0, 30, tzinfo=UTC)
    first = recurrence.next(start)
    ran: list[datetime] = []
    for wait in waits:
        now += timedelta(seconds=wait)
        if first > now:
            continue
        found = due(recurrence, first, now, policy)
        ran += found.ticks
        assert found.next_run_at == recurrence.next(now)
        assert [tick for tick in found.ticks if tick >= now - GRACE] == _between(recurrence, first, now - GRACE, now)
        first = found.next_run_at
    assert ran == sorted(set(ran))


def _between(recurrence: Recurrence, first: datetime, start: datetime, end: datetime) -> list[datetime]:
    ticks, tick = [], first
    while tick <= end:
        ticks += [tick] if tick >= start else []
        tick = recurrence.next(tick)
    return ticks


@pytest.mark.parametrize("name", ["a", "0", "nightly-report", "A.b_c-1", "x" * 100])
def test_names(name: str) -> None:
    """Letters, digits, dots, dashes, underscores."""
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "-a", ".", "..", "_a", "a/b", "a b", "a\n", "ä", "a\0", "x" * 101])
def test_no_names(name: str) -> None:
    """What would have to be escaped in a path, or is hidden, or too long."""
    assert not is_name(name)
