"""RETENTION_DAYS, in all the ways in which it may be written."""

from datetime import timedelta

import pytest

from app.core.retention import Retention

MONTH, QUARTER = timedelta(days=30), timedelta(days=90)


@pytest.mark.parametrize(
    ("text", "kept"),
    {
        "30": Retention(MONTH, MONTH, MONTH),
        " 30 ": Retention(MONTH, MONTH, MONTH),
        "0": Retention(None, None, None),
        "0.5": Retention(*[timedelta(hours=12)] * 3),
        "completed=30, failed=90, canceled=30": Retention(MONTH, QUARTER, MONTH),
        "canceled=30,failed = 90,completed=0": Retention(None, QUARTER, MONTH),
        "completed=30": Retention(MONTH, None, None),
    }.items(),
)
def test_days_are_read(text: str, kept: Retention) -> None:
    """One number for all, or by status; 0, and what is left out, is for ever."""
    assert Retention.parse(text) == kept


def test_the_shortest_is_first() -> None:
    """What is kept for ever has no time."""
    assert Retention.parse("completed=90, failed=30").times == [MONTH, QUARTER]
    assert Retention.parse("0").times == []


@pytest.mark.parametrize(
    ("text", "words"), {"": "must be days", "pending=3": "must name completed", "failed=1,failed=2": "twice"}.items()
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    """In words that say how it should be."""
    with pytest.raises(ValueError, match=words):
        Retention.parse(text)
