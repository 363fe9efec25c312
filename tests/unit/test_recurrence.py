"""When a cron expression is due, above all where clocks change."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidScheduleError
from app.core.recurrence import Recurrence, zone, zones

BERLIN, NEW_YORK, HAVANA = "Europe/Berlin", "America/New_York", "America/Havana"
LORD_HOWE = "Australia/Lord_Howe"  # its clocks change by half an hour
APIA = "Pacific/Apia"  # left out 30 December 2011 altogether

# Zone, expression, a local time to begin after, and the ticks that follow, as local times.
AT_CHANGES = {
    "daily, its time is skipped": (
        (BERLIN, "30 2 * * *", "2024-03-29T12:00+01:00"),
        ["2024-03-30T02:30+01:00", "2024-03-31T03:00+02:00", "2024-04-01T02:30+02:00"],
    ),
    "daily, its time comes twice": (
        (BERLIN, "30 2 * * *", "2024-10-26T12:00+02:00"),
        ["2024-10-27T02:30+02:00", "2024-10-28T02:30+01:00"],
    ),
    "daily, asked between its time and the repetition": (
        (BERLIN, "30 2 * * *", "2024-10-27T02:15+01:00"),
        ["2024-10-28T02:30+01:00", "2024-10-29T02:30+01:00"],
    ),
    "every ten minutes, an hour is skipped": (
        (BERLIN, "*/10 * * * *", "2024-03-31T01:40+01:00"),
        ["2024-03-31T01:50+01:00", "2024-03-31T03:00+02:00", "2024-03-31T03:10+02:00"],
    ),
    "every twenty minutes, an hour comes twice": (
        (BERLIN, "*/20 * * * *", "2024-10-27T02:10+02:00"),
        [
            *("2024-10-27T02:20+02:00", "2024-10-27T02:40+02:00", "2024-10-27T02:00+01:00", "2024-10-27T02:20+01:00"),
            *("2024-10-27T02:40+01:00", "2024-10-27T03:00+01:00"),
        ],
    ),
    "hourly, an hour is skipped": (
        (NEW_YORK, "15 * * * *", "2024-03-10T00:30-05:00"),
        ["2024-03-10T01:15-05:00", "2024-03-10T03:15-04:00", "2024-03-10T04:15-04:00"],
    ),
    "hourly, an hour comes twice": (
        (NEW_YORK, "15 * * * *", "2024-11-03T00:30-04:00"),
        ["2024-11-03T01:15-04:00", "2024-11-03T01:15-05:00", "2024-11-03T02:15-05:00"],
    ),
    "hourly, in other words": (
        (NEW_YORK, "15 0-23 * * *", "2024-11-03T00:30-04:00"),
        ["2024-11-03T01:15-04:00", "2024-11-03T01:15-05:00", "2024-11-03T02:15-05:00"],
    ),
    "every two hours, one of them is skipped": (
        (BERLIN, "15 */2 * * *", "2024-03-31T00:00+01:00"),
        ["2024-03-31T00:15+01:00", "2024-03-31T03:00+02:00", "2024-03-31T04:15+02:00"],
    ),
    "every two hours, one of them comes twice": (
        (BERLIN, "15 */2 * * *", "2024-10-27T00:00+02:00"),
        ["2024-10-27T00:15+02:00", "2024-10-27T02:15+02:00", "2024-10-27T04:15+01:00"],
    ),
    "each half hour of an hour that is skipped: one tick": (
        (BERLIN, "*/30 2 * * *", "2024-03-30T12:00+01:00"),
        ["2024-03-31T03:00+02:00", "2024-04-01T02:00+02:00"],
    ),
    "each half hour of an hour that comes twice: four ticks": (
        (BERLIN, "*/30 2 * * *", "2024-10-26T12:00+02:00"),
        [
            *("2024-10-27T02:00+02:00", "2024-10-27T02:30+02:00", "2024-10-27T02:00+01:00", "2024-10-27T02:30+01:00"),
            "2024-10-28T02:00+01:00",
        ],
    ),
    "a skipped time and the one after the gap are one tick": (
        (BERLIN, "0 2,3 * * *", "2024-03-30T12:00+01:00"),
        ["2024-03-31T03:00+02:00", "2024-04-01T02:00+02:00"],
    ),
    "midnight is skipped": (
        (HAVANA, "0 0 * * *", "2024-03-09T12:00-05:00"),
        ["2024-03-10T01:00-04:00", "2024-03-11T00:00-04:00"],
    ),
    "midnight comes twice": (
        (HAVANA, "0 0 * * *", "2024-11-02T12:00-04:00"),
        ["2024-11-03T00:00-04:00", "2024-11-04T00:00-05:00"],
    ),
    "on Sundays, whose midnight is skipped": (
        (HAVANA, "0 0 * * SUN", "2024-03-09T12:00-05:00"),
        ["2024-03-10T01:00-04:00", "2024-03-17T00:00-04:00"],
    ),
    "half an hour is skipped": (
        (LORD_HOWE, "15 2 * * *", "2024-10-05T12:00+10:30"),
        ["2024-10-06T02:30+11:00", "2024-10-07T02:15+11:00"],
    ),
    "half an hour comes twice": (
        (LORD_HOWE, "45 1 * * *", "2024-04-06T12:00+11:00"),
        ["2024-04-07T01:45+11:00", "2024-04-08T01:45+10:30"],
    ),
    "every ten minutes, half an hour is skipped": (
        (LORD_HOWE, "*/10 * * * *", "2024-10-06T01:45+10:30"),
        ["2024-10-06T01:50+10:30", "2024-10-06T02:30+11:00", "2024-10-06T02:40+11:00"],
    ),
    "every ten minutes, half an hour comes twice": (
        (LORD_HOWE, "*/10 * * * *", "2024-04-07T01:45+11:00"),
        ["2024-04-07T01:50+11:00", "2024-04-07T01:30+10:30", "2024-04-07T01:40+10:30", "2024-04-07T01:50+10:30"],
    ),
    "hourly, half an hour comes twice": (
        (LORD_HOWE, "45 * * * *", "2024-04-07T00:50+11:00"),
        ["2024-04-07T01:45+11:00", "2024-04-07T01:45+10:30", "2024-04-07T02:45+10:30"],
    ),
    "within the hour after a change by half an hour": (
        (LORD_HOWE, "*/10 3 * * *", "2024-10-05T12:00+10:30"),
        ["2024-10-06T03:00+11:00", "2024-10-06T03:10+11:00", "2024-10-06T03:20+11:00"],
    ),
    "a day is skipped": (
        (APIA, "30 12 * * *", "2011-12-29T12:00-10:00"),
        ["2011-12-29T12:30-10:00", "2011-12-31T00:00+14:00", "2011-12-31T12:30+14:00"],
    ),
}

WRONG = {
    "empty": ("", "must have five fields"),
    "four fields": ("* * * *", "must have five fields"),
    "six fields": ("* * * * * *", "must have five fields"),
    "a nickname": ("@daily", "must have five fields"),
    "minute": ("60 * * * *", "its field for the minute is wrong"),
    "hour": ("0 24 * * *", "its field for the hour is wrong"),
    "day": ("0 0 32 * *", "its field for the day of month is wrong"),
    "no day": ("0 0 0 * *", "its field for the day of month is wrong"),
    "month": ("0 0 1 13 *", "its field for the month is wrong"),
    "weekday": ("0 0 * * 8", "its field for the day of week is wrong"),
    "weekday's name": ("0 0 * * MONDAY", "its field for the day of week is wrong"),
    "letters": ("x * * * *", "its field for the minute is wrong"),
    "negative": ("-1 * * * *", "its field for the minute is wrong"),
    "backwards": ("30-10 * * * *", "its field for the minute is wrong"),
    "no step": ("*/0 * * * *", "its field for the minute is wrong"),
    "a digit of another script": ("٣ * * * *", "its field for the minute is wrong"),
    "30 February": ("0 0 30 2 *", "never comes due"),
    "31 in short months": ("0 0 31 4,6,9,11 *", "never comes due"),
    "31 February, and a wrong month": ("0 0 31 2,13 *", "its field for the month is wrong"),
    "no such fifth Monday": ("0 0 */5 2 MON#5", "never comes due"),
    "too long": ("0 " * 128, "is longer than 255 characters"),
    "a very long number": ("9" * 5_000 + " * * * *", "is longer than 255 characters"),
}

CRONS = [
    "* * * * *",
    "*/10 * * * *",
    "7 * * * *",
    "30 2 * * *",
    "*/15 1-3 * * *",
    "0 */6 * * *",
    "0 0 1 * *",
    "5 1 * * SUN",
]
TIMES = st.datetimes(datetime(2023, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds it
CHANGES = st.sampled_from(
    [
        datetime.fromisoformat(f"{day}:00+00:00")
        for day in (
            *("2024-03-31T01:00", "2024-10-27T01:00", "2024-03-10T07:00", "2024-11-03T06:00"),
            *("2024-04-06T15:00", "2024-10-05T15:30", "2024-03-10T05:00", "2024-11-03T05:00"),
        )
    ]
).flatmap(lambda change: st.integers(-10_000, 10_000).map(lambda seconds: change + timedelta(seconds=seconds)))


@pytest.mark.parametrize(("when", "ticks"), AT_CHANGES.values(), ids=AT_CHANGES)
def test_ticks_where_clocks_change(when: tuple[str, str, str], ticks: list[str]) -> None:
    """As docs/schedules.md says: with every hour in real time, else each local time once."""
    name, cron, after = when
    found = Recurrence(cron, name).upcoming(datetime.fromisoformat(after), len(ticks))
    assert all(tick.tzinfo is UTC for tick in found)
    assert [tick.astimezone(zone(name)).isoformat(timespec="minutes") for tick in found] == ticks


@pytest.mark.parametrize("name", [BERLIN, NEW_YORK, HAVANA, LORD_HOWE, "Africa/Casablanca", "America/Santiago", "UTC"])
def test_a_daily_job_runs_once_on_every_day(name: str) -> None:
    """Of a year, at 02:30 and at midnight, in zones of all sorts."""
    for cron in ("30 2 * * *", "0 0 * * *"):
        ticks = Recurrence(cron, name).upcoming(datetime(2024, 1, 1, 12, tzinfo=UTC), 365)
        days = [tick.astimezone(zone(name)).date() for tick in ticks]
        assert days == [days[0] + timedelta(days=n) for n in range(365)]


@pytest.mark.parametrize("name", [BERLIN, NEW_YORK, HAVANA, LORD_HOWE, "Africa/Casablanca", "America/Santiago", "UTC"])
def test_every_ten_minutes_is_every_ten_real_minutes(name: str) -> None:
    """Over all changes of clocks in a year."""
    recurrence = Recurrence("*/10 * * * *", name)
    for month in range(1, 13):
        for day in range(1, 29, 7):  # each change is on a Sunday, and these runs of ten days overlap
            start = datetime(2024, month, day, tzinfo=UTC)
            ticks = recurrence.upcoming(start, 10)
            assert ticks == [start + timedelta(minutes=10 * n) for n in range(1, 11)]


@pytest.mark.parametrize(("cron", "problem"), WRONG.values(), ids=WRONG)
def test_a_wrong_expression_is_refused(cron: str, problem: str) -> None:
    """With the field of the expression, or what is wrong with all of it; and never what was sent."""
    with pytest.raises(InvalidScheduleError) as caught:
        Recurrence(cron, "UTC")
    ((field, detail),) = caught.value.problems
    assert field == "cron"
    assert detail.startswith(problem)


@pytest.mark.parametrize(
    "name",
    ["", "Berlin", "europe/berlin", "Europe", "Europe/", "/etc/localtime", "../UTC", "localtime", "CEST", "+02:00"],
)
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    """Names are those of the IANA database, letter by letter, and never a path."""
    with pytest.raises(InvalidScheduleError) as caught:
        Recurrence("* * * * *", name)
    assert [field for field, _ in caught.value.problems] == ["timezone"]


def test_all_that_is_wrong_is_named_at_once() -> None:
    """Both fields."""
    with pytest.raises(InvalidScheduleError) as caught:
        Recurrence("x", "y")
    assert [field for field, _ in caught.value.problems] == ["cron", "timezone"]


def test_every_time_zone_can_be_used() -> None:
    """All that the package has, the host having none to do with it."""
    assert {"UTC", BERLIN, LORD_HOWE, "Asia/Kathmandu"} <= zones()
    assert all(Recurrence("0 0 * * *", name).next(datetime(2026, 1, 1, tzinfo=UTC)) for name in zones())


@pytest.mark.parametrize(
    ("cron", "english"),
    [
        ("30 2 * * *", "At 02:30 every day"),
        ("*/10 * * * *", "Every 10th minute of every hour"),
        ("  0   9 * *  mon-fri ", "At 09:00 on Monday through Friday"),
        ("0 0 L * *", "At 00:00 on the last day of every month"),
    ],
)
def test_it_is_told_in_english(cron: str, english: str) -> None:
    """Whatever its spaces and the case of its letters."""
    recurrence = Recurrence(cron, "UTC")
    assert recurrence.in_english == english
    assert recurrence.cron == " ".join(cron.split())


@settings(max_examples=300)
@given(
    cron=st.sampled_from(CRONS),
    name=st.sampled_from([BERLIN, NEW_YORK, HAVANA, LORD_HOWE, "UTC"]),
    after=CHANGES | TIMES,
)
def test_ticks_only_go_forward_and_none_is_left_out(cron: str, name: str, after: datetime) -> None:
    """Each is later than the one before; from anywhere between two ticks the later one is next."""
    recurrence = Recurrence(cron, name)
    ticks = recurrence.upcoming(after, 4)
    for before, tick in zip([after, *ticks], ticks, strict=False):
        assert before < tick
        assert tick.second == tick.microsecond == 0
        for between in (before + (tick - before) / 3, tick - timedelta(seconds=1), tick - timedelta.resolution):
            assert between < before or recurrence.next(between) == tick


@settings(max_examples=200)
@given(
    cron=st.sampled_from(CRONS),
    name=st.sampled_from([BERLIN, LORD_HOWE]),
    after=CHANGES | TIMES,
    length=st.integers(0, 9_000),
)
def test_the_last_tick_of_a_stretch_is_the_last_by_counting(cron: str, name: str, after: datetime, length: int) -> None:
    """What is found by bisection is what stepping from tick to tick finds."""
    recurrence, until, last = Recurrence(cron, name), after + timedelta(seconds=length), None
    tick = recurrence.next(after)
    while tick <= until:
        last, tick = tick, recurrence.next(tick)
    assert recurrence.last(after, until) == last


def test_the_last_tick_of_many_years_is_found_at_once() -> None:
    """A consumer that was away for that long does not step through five million minutes."""
    recurrence = Recurrence("* * * * *", BERLIN)
    until = datetime(2026, 10, 25, 0, 30, 30, tzinfo=UTC)
    assert recurrence.last(until - timedelta(days=3_650), until) == until.replace(second=0)


@settings(max_examples=300)
@given(st.text(alphabet="0123456789*/,-#L W MONJAN", max_size=30))
def test_any_text_is_an_expression_or_refused(cron: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        recurrence = Recurrence(cron, "UTC")
    except InvalidScheduleError:
        return
    assert recurrence.in_english
    assert recurrence.next(datetime(2026, 1, 1, tzinfo=UTC))
