"""The checker says so when a client is refused what could have been done."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checks import refusals
from tests.chaos.good import broken_by
from tests.chaos.history import Outcome
from tests.chaos.story import GROUP, Story

AT = 100.0  # when all of the story is over


def _refused(verb: str, code: int, *ids: str, **fields: Any) -> Callable[[Story], Any]:
    return lambda story: story.call(verb, AT, *ids, outcome=Outcome.FAIL, code=code, **fields)


def _open_group(story: Story) -> None:
    story.history.groups = [{**group, "ended_at": None, "canceled_at": None} for group in story.history.groups]
    _refused("cancel_group", 400, group=GROUP)(story)


def _deleted(story: Story) -> None:
    story.call("delete_schedule", AT - 2, marker="s", outcome=Outcome.UNKNOWN, code=0)
    _refused("delete_schedule", 404, marker="s")(story)
    _refused("schedule", 404, marker="s")(story)


def _unheard(story: Story) -> None:
    for _ in range(50):
        story.call("cancel_group", AT, group=GROUP, outcome=Outcome.UNKNOWN, code=500)


CASES: dict[str, tuple[Callable[[Story], Any], set[str]]] = {
    "a failed task that may not be retried": (_refused("retry", 409, "failed"), {refusals.UNFOUNDED}),
    "a retry that nobody understands": (_refused("retry", 422, "plain"), {refusals.UNFOUNDED}),
    "a read that nobody understands": (_refused("read", 400, "plain"), {refusals.UNFOUNDED}),
    "a group that may not be read": (_refused("read_group", 403, group=GROUP), {refusals.UNFOUNDED}),
    "a cancel that nobody understands": (_refused("cancel", 422, "plain"), {refusals.UNFOUNDED}),
    "a schedule that is not taken": (_refused("put_schedule", 422, marker="s"), {refusals.UNFOUNDED}),
    "a schedule that is not run": (_refused("schedule", 404, marker="s"), {refusals.UNFOUNDED}),
    "calls of which none is granted": (_unheard, {refusals.NEVER}),
    "a completed task may not be retried": (_refused("retry", 409, "plain"), set()),
    "an ended group may not be canceled": (_refused("cancel_group", 400, group=GROUP), set()),
    "a schedule that is gone is not found": (_deleted, set()),
}


@pytest.mark.parametrize("case", CASES)
def test_refusals_have_their_reason(case: str) -> None:
    """Each history is as it should be but for the one call."""
    change, expected = CASES[case]
    assert broken_by(change) == expected


def test_an_open_group_may_be_canceled() -> None:
    """It is told that it had ended, which its row does not say."""
    assert refusals.UNFOUNDED in broken_by(_open_group)
