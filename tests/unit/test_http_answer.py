"""How long a server wants to be left alone."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.handler_api.http_answer import retry_after

NOW = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1),
        ("120", 120),
        ("0120", 120),
        ("86400", 86_400),
        ("86401", 86_400),
        ("9999999999", 86_400),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 29.75),
        ("Sunday, 22-Nov-26 12:00:30 GMT", 29.75),  # the two forms of old that RFC 9110 has readers take
        ("Sun Nov 22 12:00:30 2026", 29.75),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 29.75),
        ("Sun, 22 Nov 2026 13:00:30 +0100", 29.75),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        *((value, None) for value in ("0", "000", "Sun, 22 Nov 2026 12:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT")),
        *((value, None) for value in ("", "-1", "+1", "1.5", "1e3", "soon", "1 s", "12345678901", "\u0661", "NaN")),
        *((value, None) for value in ("Sun, 32 Nov 2026 12:00:30 GMT", "Sun, 22 Nov 99999 12:00:30 GMT", "2026-11-22")),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """In seconds or as a date, at most a day; what is neither, or has passed, leaves it to the kind."""
    assert retry_after(value, NOW) == seconds


@given(st.text(max_size=40))
def test_nothing_but_seconds_comes_of_any_text(value: str) -> None:
    """Whatever a server sends."""
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 < seconds <= 86_400


@given(st.integers(1, 80_000))
def test_every_date_of_the_next_day(seconds: int) -> None:
    """As servers write it."""
    date = NOW.replace(microsecond=0) + timedelta(seconds=seconds)
    assert retry_after(format_datetime(date, usegmt=True), NOW) == pytest.approx(seconds - 0.25)
