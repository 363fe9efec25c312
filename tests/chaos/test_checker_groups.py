"""The checker says so when groups are wrong, or do not stop when they should."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.checks import asked, cancels, creates, group_times, groups
from tests.chaos.good import broken_by, good
from tests.chaos.history import Injected, Outcome
from tests.chaos.story import GROUP, START, STOPPED_GROUP, Story


def _group(story: Story, number: int = 0, **columns: Any) -> None:
    story.history.groups[number] = dict(story.history.groups[number]) | columns


def _ended_early(story: Story) -> None:
    """And `then` was told what was to come."""
    _group(story, ended_at=START + 5.35)


def _group_canceled(story: Story) -> None:
    """It is told so at 5.25, and a member is claimed at 5.3."""
    story.call("cancel_group", 5.15, group=GROUP)
    _group(story, canceled_at=START + 5.2)
    story.drop("then")
    story.forget("group", "member-a")
    story.call("group", 5, "member-a", "member-b", "then", marker="group", group=GROUP, asked=("chaos_noop",) * 3)


def _retried_and_canceled(story: Story, retried_at: float, ended_at: float) -> None:
    """A member fails, a client has it retried, then the group is canceled, and told so at 30.1. It runs at 31."""
    for index, name in enumerate(("a", "b")):
        story.create(name, 20, "g", index, kind="chaos_sleep", group_id="g")
    story.claim("a", 20.1)
    story.claim("b", 20.1)
    story.fail("a", 20.2)
    story.call("retry", retried_at - 0.01, "a", status="pending", version=4)
    story.move("a", "pending", retried_at, claim_id=None, attempt=0, error=None)
    story.call("group", 20, "a", "b", "then-g", marker="g", group="g", asked=("chaos_sleep",) * 3)
    story.call("cancel_group", 30, group="g", status="ended")
    story.move("b", "canceled", 30.05)
    story.run("b", 30.1, "canceled")
    story.claim("a", 31)
    story.complete("a", 31.1)
    canceled = {"ended_at": START + ended_at, "canceled_at": START + 30.05, "then_id": "then-g"}
    story.history.groups.append({"id": "g", "total": 2, "on_failure": "continue", **canceled})
    story.history.injected.append(Injected("freeze", START + 20, START + 31, "consumer"))


def _rest_goes_on(story: Story) -> None:
    """As if nobody had asked for it to stop; the group's end is in order."""
    story.changes[:] = [change for change in story.changes if change.task != "stopped-c" or change.new != "canceled"]
    story.edit_change("stopped-c", 0, run_at=START + 29)
    story.rows["stopped-c"].update(status="pending", version=1, run_at=START + 29)
    story.claim("stopped-c", 30)
    story.complete("stopped-c", 30.1)
    _end_at(story, 30.2, {"completed": 1, "canceled": 1})


def _end_at(story: Story, at: float, counts: dict[str, int]) -> None:
    """The second group, and its `then`."""
    _group(story, 1, ended_at=START + at)
    story.rows["stopped-then"]["content"]["group"].update(counts)
    for number, seconds in enumerate((0, 0.1, 0.2)):
        story.edit_change("stopped-then", number, at=START + at + seconds, run_at=START + at)
    story.history.runs = [run for run in story.history.runs if run.task != "stopped-then"]
    for phase, seconds in (("start", 0.1), ("done", 0.2)):
        story.run("stopped-then", at + seconds, phase)


def _late(story: Story) -> None:
    """Long after its last member."""
    _end_at(story, 30, {})


CASES: dict[str, tuple[Callable[[Story], Any], set[str]]] = {
    "a member missing": (
        lambda s: s.drop("member-a"),
        {groups.INCOMPLETE, groups.MISCOUNTED, groups.MISREAD, creates.LOST},
    ),
    "members without a group": (
        lambda s: s.history.groups.pop(0),
        {groups.INCOMPLETE},
    ),
    "a group that does not end": (lambda s: _group(s, ended_at=None), {groups.OPEN}),
    "a group that ends early": (_ended_early, {groups.EARLY, groups.MISCOUNTED}),
    "`then` missing": (lambda s: s.drop("then"), {groups.NO_THEN, creates.LOST}),
    "`then` of a canceled group": (lambda s: _group(s, canceled_at=START + 5.2), {groups.NO_THEN}),
    "`then` told another count": (
        lambda s: s.rows["then"]["content"]["group"].update(completed=1, failed=1),
        {groups.MISCOUNTED},
    ),
    "counts that are too few": (
        lambda s: s.edit_group_read(counts=(2, 0, 0, 1, 0, 0)),
        {groups.MISREAD},
    ),
    "counts that never were": (
        lambda s: s.edit_group_read(counts=(2, 0, 1, 1, 0, 0)),
        {groups.MISREAD},
    ),
    "a canceled group whose members are told to be live": (
        lambda s: s.call("cancel_group", 5.3, group=GROUP, counts=(2, 0, 1, 1, 0, 0)),
        {group_times.UNCANCELED, groups.MISREAD},
    ),
    # Cancels.
    "a group's cancel without effect": (
        lambda s: s.call("cancel_group", 5.2, group=GROUP),
        {group_times.UNCANCELED},
    ),
    "a member that goes on after its group's cancel": (_group_canceled, {group_times.UNCANCELED}),
    "a member that was retried long before its group's cancel, and goes on after it": (
        lambda s: _retried_and_canceled(s, 22, 31.2),
        {group_times.UNCANCELED},
    ),
    # Failures.
    "a member that goes on after another's failure": (_rest_goes_on, {group_times.UNSTOPPED}),
    "a member canceled without the reason": (
        lambda s: s.edit_change("stopped-c", 1, error_code=""),
        {cancels.UNASKED},
    ),
    "members canceled where they should go on": (
        lambda s: s.edit_call("group", "stopped-a", on_failure="continue"),
        {cancels.UNASKED, asked.OTHER},
    ),
    "members canceled before one has failed": (
        lambda s: s.edit_change("stopped-c", 1, at=START + 9.15),
        {cancels.UNASKED},
    ),
    # Ends.
    "a group that ends late": (_late, {group_times.LATE_END}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_wrong_is_called_by_its_name(name: str) -> None:
    """Spoiled in one way, the good history breaks exactly the rules that stand beside it."""
    spoil, rules = CASES[name]
    assert broken_by(spoil) == rules


@pytest.mark.parametrize(("retried_at", "ended_at"), [(29.9, 30.06), (30.2, 30.06), (26, 25)])
def test_a_member_may_be_retried_when_its_group_has_ended(retried_at: float, ended_at: float) -> None:
    """Then nobody minds it; also where it seems to come before that, since it was not committed yet."""
    broken = broken_by(lambda s: _retried_and_canceled(s, retried_at, ended_at))
    assert group_times.UNCANCELED not in broken


def test_a_group_may_be_canceled_by_a_client() -> None:
    """All that is live in it."""
    story = good()
    for name in ("stopped-b", "stopped-c"):
        story.edit_change(name, -1, error_code="")
    story.call("cancel_group", 9.25, group=STOPPED_GROUP, outcome=Outcome.UNKNOWN, code=0)
    assert not check(story.history).violations


def test_a_failure_may_take_a_fault_to_stop_the_others() -> None:
    """And the end of a group as well."""
    story = good()
    story.history.injected.append(Injected("postgres-crash", START + 9.25, START + 29, "postgresql"))
    _rest_goes_on(story)
    _end_at(story, 40, {})
    assert not check(story.history).violations
