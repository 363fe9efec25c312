"""The checker says so when clients are told or shown what was not so."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.checks import cancels, reads
from tests.chaos.good import broken_by, good
from tests.chaos.history import Outcome
from tests.chaos.story import START, Story

CASES: dict[str, tuple[Callable[[Story], Any], set[str]]] = {
    # Cancels.
    "a cancel denied": (
        lambda s: s.call("cancel", 4, "plain", status="completed"),
        {cancels.DENIED, cancels.OVERRIDDEN, cancels.SEEN_LIVE},
    ),
    "canceled after the answer": (
        lambda s: s.edit_change("canceled", 2, at=START + 4),
        {cancels.OVERRIDDEN},
    ),
    "seen running after the cancel": (
        lambda s: s.edit_call("read", "canceled", status="processing"),
        {cancels.SEEN_LIVE, reads.NEVER},
    ),
    "canceled by nobody": (lambda s: s.forget("cancel", "callback"), {cancels.UNASKED}),
    "canceled before anybody has asked for it": (
        lambda s: s.edit_call("cancel", "callback", invoked=START + 2.51),
        {cancels.UNASKED},
    ),
    "canceled though that was refused": (
        lambda s: s.edit_call("cancel", "callback", outcome=Outcome.FAIL, code=400, status="", version=0),
        {cancels.UNASKED, cancels.REFUSED},
    ),
    "a cancel refused of a running task": (
        lambda s: s.call("cancel", 1.5, "plain", outcome=Outcome.FAIL, code=400),
        {cancels.REFUSED},
    ),
    # Reads.
    "an older version": (
        lambda s: s.call("read", 6, "plain", status="processing", version=2),
        {reads.BACKWARDS},
    ),
    "not found": (lambda s: s.call("read", 6, "plain", outcome=Outcome.FAIL, code=404), {reads.MISSING}),
    "a status that it did not have": (
        lambda s: s.call("read", 1.2, "plain", status="completed", version=2),
        {reads.NEVER},
    ),
    "a version that never came": (
        lambda s: s.call("read", 7, "plain", status="completed", version=4),
        {reads.NEVER},
    ),
    "a cancel of what is not found": (
        lambda s: s.call("cancel", 1.5, "plain", outcome=Outcome.FAIL, code=404),
        {reads.MISSING},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_wrong_is_called_by_its_name(name: str) -> None:
    """Spoiled in one way, the good history breaks exactly the rules that stand beside it."""
    spoil, rules = CASES[name]
    assert broken_by(spoil) == rules


def test_a_cancel_may_be_refused_of_what_has_ended() -> None:
    """Of one that was completed then."""
    story = good()
    story.call("cancel", 2.5, "plain", outcome=Outcome.FAIL, code=400)
    assert not check(story.history).violations
