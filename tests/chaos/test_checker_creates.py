"""The checker says so when what there is, is not what was answered or asked for."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.checks import asked, creates, groups, ticks
from tests.chaos.good import broken_by, good
from tests.chaos.history import Outcome
from tests.chaos.story import START, Story


def _row(story: Story, name: str, **columns: Any) -> None:
    story.rows[name].update(columns)


def _canceled_twin(story: Story, name: str, **columns: Any) -> None:
    """One more task, which has not run."""
    story.create(name, 1, **columns)
    story.call("cancel", 1.05, name, status="canceled", version=2)
    story.move(name, "canceled", 1.1)


def _mixed_up(story: Story) -> None:
    """The task is lost, and its client was given another's."""
    story.drop("released")
    story.edit_call("create", "released", ids=("failed",))


def _answer(story: Story, *names: str, **fields: Any) -> None:
    """What the whole batch was answered with."""
    story.edit_call("batch", "batch-1", ids=names, **fields)


def _one_for_all(story: Story) -> None:
    """The others are lost."""
    for name in ("batch-1", "batch-2"):
        story.drop(name)
    story.forget("batch", "batch-2")
    story.call("batch", 9, *("batch-0",) * 3, marker="batch", asked=("chaos_noop",) * 3)


def _ask(story: Story, place: int, **fields: Any) -> None:
    """Of the batch, in both of its calls."""
    for number, call in enumerate(story.history.calls):
        if call.verb == "batch":
            options = [*call.options]
            options[place] = options[place]._replace(**fields)
            story.history.calls[number] = call._replace(options=tuple(options))


def _goes_on(story: Story) -> None:
    """By its row."""
    story.history.groups[1] = dict(story.history.groups[1]) | {"on_failure": "continue"}


CASES: dict[str, tuple[Callable[[Story], Any], set[str]]] = {
    # What was answered.
    "acknowledged, and not there": (lambda s: s.drop("failed"), {creates.LOST}),
    "refused, and there": (
        lambda s: s.edit_call("create", "recovered", outcome=Outcome.FAIL, code=422, ids=()),
        {creates.UNEXPECTED},
    ),
    "nobody's marker": (lambda s: _canceled_twin(s, "new", marker="nobody"), {creates.UNEXPECTED}),
    "no marker": (lambda s: _canceled_twin(s, "new"), {creates.UNEXPECTED}),
    "a callback of nothing": (lambda s: _row(s, "callback", callback_of="nothing"), {creates.UNEXPECTED}),
    "not among what was answered": (
        lambda s: _canceled_twin(s, "new", marker="plain", index=1),
        {creates.UNEXPECTED},
    ),
    "two tasks of one intent": (lambda s: _canceled_twin(s, "new", marker="unknown"), {creates.DUPLICATED}),
    "two answers to one key": (
        lambda s: s.call("create", 1, "unknown", marker="plain", key="key-1"),
        {creates.DUPLICATED, creates.LOST},
    ),
    "two tasks of one tick": (
        lambda s: _canceled_twin(s, "new", marker="schedule", run_at=START),
        {creates.DUPLICATED},
    ),
    "answered with another's task": (_mixed_up, {creates.LOST}),
    "answered with one task for all": (_one_for_all, {creates.LOST}),
    "answered in another order": (lambda s: _answer(s, "batch-1", "batch-0", "batch-2"), {creates.LOST}),
    "fewer answers than tasks": (lambda s: _answer(s, "batch-0", "batch-1"), {creates.LOST}),
    "one task twice before an answer broke off": (
        lambda s: s.edit_call("batch", "batch-0", ids=("batch-0", "batch-0")),
        {creates.LOST},
    ),
    "another order before an answer broke off": (
        lambda s: s.edit_call("batch", "batch-0", ids=("batch-2", "batch-0")),
        {creates.LOST},
    ),
    "answered with members of another group": (
        lambda s: _row(s, "member-b", group_id="stopped group"),
        {creates.LOST, groups.INCOMPLETE, groups.MISCOUNTED, groups.MISREAD},
    ),
    "answered with another's `then`": (
        lambda s: s.edit_call("group", "then", ids=("member-a", "member-b", "stopped-then")),
        {creates.LOST, creates.UNEXPECTED},
    ),
    "fewer than were asked for": (
        lambda s: s.edit_call("group", "member-a", asked=("chaos_noop",) * 4),
        {creates.LOST},
    ),
    # Schedules.
    "a schedule's task acknowledged, and not there": (
        lambda s: s.call("schedule", 4, "ghost", marker="schedule", code=201),
        {creates.LOST},
    ),
    "a schedule's task that is another's": (
        lambda s: s.call("schedule", 4, "plain", marker="schedule", code=201),
        {creates.LOST},
    ),
    "two tasks of a schedule for one call": (
        lambda s: _canceled_twin(s, "new", marker="schedule"),
        {creates.DUPLICATED},
    ),
    "a schedule that does not tick": (
        lambda s: s.call("delete_schedule", 110, marker="schedule", code=204),
        {ticks.SILENT},
    ),
    # What was asked for.
    "another kind": (lambda s: s.edit_call("create", "recovered", asked=("chaos_noop",)), {asked.OTHER}),
    "a place that nobody has sent": (
        lambda s: s.rows["batch-1"]["content"].update(index="none"),
        {asked.OTHER, creates.LOST},
    ),
    "another priority": (lambda s: _ask(s, 1, priority=2), {asked.OTHER}),
    "another key": (lambda s: _ask(s, 2, key="key-3"), {asked.OTHER}),
    "no key": (lambda s: _row(s, "batch-2", concurrency_key=None), {asked.OTHER}),
    "a limit that nobody has set": (lambda s: _row(s, "batch-2", concurrency_limit=2), {asked.OTHER}),
    "another number of attempts": (lambda s: _ask(s, 2, max_attempts=4), {asked.OTHER}),
    "due before its delay is over": (lambda s: _ask(s, 2, delay_seconds=1.5), {asked.OTHER_TIME}),
    "due later than its delay": (lambda s: _ask(s, 2, delay_seconds=0.5), {asked.OTHER_TIME}),
    "due at once": (lambda s: s.edit_change("batch-2", 0, run_at=START + 9), {asked.OTHER_TIME}),
    "a group that goes on, though it was to stop": (_goes_on, {asked.OTHER}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_wrong_is_called_by_its_name(name: str) -> None:
    """Spoiled in one way, the good history breaks exactly the rules that stand beside it."""
    spoil, rules = CASES[name]
    assert broken_by(spoil) == rules


def test_what_was_not_recorded_is_not_judged() -> None:
    """As in histories that were kept before it was."""
    story = good()
    story.history.calls = [call._replace(options=(), on_failure="") for call in story.history.calls]
    assert not check(story.history).violations


def test_a_delay_is_counted_from_the_first_try() -> None:
    """Any of them may have made the task."""
    assert not broken_by(lambda s: s.edit_call("batch", "batch-0", invoked=START + 8))
