"""The checker says so when groups are wrong, or checkpoints, keys and waits."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.checks import claims, creates, groups, waits, work
from tests.chaos.history import Injected, Outcome
from tests.chaos.story import GROUP, START, Story, broken_by, good


def _group(story: Story, **columns: Any) -> None:
    story.history.groups[0] = dict(story.history.groups[0]) | columns


def _ended_early(story: Story) -> None:
    """And `then` was told what was to come."""
    _group(story, ended_at=START + 5.35)


def _waiting(story: Story) -> None:
    story.create("late", 100, "late")
    story.call("create", 100, marker="late", outcome=Outcome.UNKNOWN)
    story.claim("late", 140)
    story.complete("late", 141)


def _group_canceled(story: Story) -> None:
    """It is told so at 5.25, and a member is claimed at 5.3."""
    story.call("cancel_group", 5.15, group=GROUP)
    _group(story, canceled_at=START + 5.2)
    story.drop("then")
    story.history.calls = [call for call in story.history.calls if call.verb != "group"]
    story.call("group", 5, "member-a", "member-b", "then", marker="group", group=GROUP, asked=("chaos_noop",) * 3)


def _written_after_a_cancel(story: Story) -> None:
    """Long after that was acknowledged, by the run that had been canceled."""
    for number in (1, 2, 3):
        story.write("canceled", number, 9)


def _starved(story: Story) -> None:
    """For 800 s, while a consumer is killed every other second."""
    story.history.injected = [
        Injected("kill-consumer", at, at + 0.05, "c") for at in range(int(START), int(START) + 1_000, 2)
    ]
    story.create("x", 100, "x")
    story.call("create", 100, "x", marker="x", code=201)
    story.claim("x", 900)
    story.complete("x", 901)


def _starved_again(story: Story) -> None:
    """After it was given back."""
    story.create("x", 5, "x")
    story.call("create", 5, "x", marker="x", code=201)
    story.claim("x", 5.1)
    story.run("x", 5.2, "canceled")
    story.move("x", "pending", 5.2, claim_id=None, attempt=0)
    story.claim("x", 500)
    story.complete("x", 501)


def _starved_of_its_key(story: Story) -> None:
    """Nobody has held the key since 5.4."""
    story.create("x", 5, "x", concurrency_key="key")
    story.call("create", 5, "x", marker="x", code=201)
    story.claim("x", 140)
    story.complete("x", 141)


def _too_early(story: Story) -> None:
    story.create("x", 1, "x", run_at=START + 100)
    story.call("create", 1, "x", marker="x", code=201)
    story.claim("x", 2)
    story.complete("x", 2.1)


def _nobody_waits(story: Story) -> None:
    story.history.transitions.clear()
    story.history.tasks.clear()
    story.history.calls.clear()
    story.history.groups.clear()
    story.history.runs.clear()
    story.history.effects.clear()


CASES: dict[str, tuple[Callable[[Story], Any], set[str]]] = {
    # Groups.
    "a member missing": (
        lambda s: s.drop("member-a"),
        {groups.INCOMPLETE, groups.MISCOUNTED, groups.MISREAD, creates.LOST},
    ),
    "members without a group": (lambda s: s.history.groups.clear(), {groups.INCOMPLETE}),
    "a group that does not end": (lambda s: _group(s, ended_at=None), {groups.OPEN}),
    "a group that ends early": (_ended_early, {groups.EARLY, groups.MISCOUNTED}),
    "`then` missing": (lambda s: s.drop("then"), {groups.NO_THEN, creates.LOST}),
    "`then` of a canceled group": (lambda s: _group(s, canceled_at=START + 5.2), {groups.NO_THEN}),
    "`then` told another count": (
        lambda s: s.rows["then"]["content"]["group"].update(completed=1, failed=1),
        {groups.MISCOUNTED},
    ),
    "a group's cancel without effect": (
        lambda s: s.call("cancel_group", 5.2, group=GROUP),
        {groups.UNCANCELED},
    ),
    # Work.
    "an effect twice": (lambda s: s.history.effects.append(s.history.effects[-1]), {work.TWICE, work.CURSOR}),
    "an effect too few": (lambda s: s.history.effects.pop(), {work.GAP, work.CURSOR}),
    "a gap in an unfinished task": (
        lambda s: s.write("canceled", 2, 3.15, status="processing"),
        {work.GAP, work.CURSOR},
    ),
    "an effect of nobody": (
        lambda s: s.history.effects.append(s.history.effects[0]._replace(task="nobody")),
        {work.GAP, work.UNFENCED},
    ),
    "two of one key at once": (lambda s: s.edit_change("member-b", 1, at=START + 5.15), {work.OVERLAP}),
    "a long wait": (_waiting, {waits.WAITED}),
    "a member that goes on after its group's cancel": (_group_canceled, {groups.UNCANCELED}),
    "counts that are too few": (
        lambda s: s.edit_group_read(counts=(2, 0, 0, 1, 0, 0)),
        {groups.MISREAD},
    ),
    "counts that never were": (
        lambda s: s.edit_group_read(counts=(2, 0, 1, 1, 0, 0)),
        {groups.MISREAD},
    ),
    "effects of a canceled task": (_written_after_a_cancel, {work.UNFENCED}),
    "an effect past the fence": (
        lambda s: s.history.effects.append(s.history.effects.pop()._replace(holder="", status="")),
        {work.UNFENCED},
    ),
    "a cursor that is elsewhere": (lambda s: s.rows["recovered"].update(cursor=1), {work.CURSOR}),
    "starved while consumers die": (_starved, {waits.WAITED}),
    "starved after it was given back": (_starved_again, {waits.WAITED}),
    "starved of its key": (_starved_of_its_key, {waits.WAITED}),
    "claimed too early": (_too_early, {waits.EARLY}),
    "no wait at all": (_nobody_waits, {waits.UNMEASURED}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_wrong_is_called_by_its_name(name: str) -> None:
    """Spoiled in one way, the good history breaks exactly the rules that stand beside it."""
    spoil, rules = CASES[name]
    assert broken_by(spoil) == rules


def test_a_wait_may_take_a_fault_and_its_recovery() -> None:
    """What touches it allows for more; and where nobody was there to claim, for as long as that was so."""
    story = good()
    _waiting(story)
    story.history.injected.append(Injected("redis-kill", START + 120, START + 121, "redis"))
    verdict = check(story.history)
    assert not verdict.violations
    assert verdict.waits.touched == 1
    assert verdict.waits.longest_touched == pytest.approx(40)
    story = good()
    _starved_of_its_key(story)
    story.history.injected.append(Injected("postgres-crash", START + 6, START + 130, "postgresql"))
    assert not check(story.history).violations


@pytest.mark.parametrize(("seconds", "found"), [(200, set()), (250, {waits.WAITED})])
def test_what_runs_in_a_child_may_wait_for_the_one_consumer_that_has_some(seconds: float, found: set[str]) -> None:
    """For longer, and not for ever."""
    story = good()
    story.create("x", 1, "x", kind="chaos_steps_in_child")
    story.call("create", 1, "x", marker="x", code=201)
    story.claim("x", 1 + seconds)
    story.complete("x", 2 + seconds)
    assert waits.WAITED in check(story.history).by_rule() if found else not check(story.history).violations


@pytest.mark.parametrize(("others", "found"), [([], {waits.WAITED}), ([50, 100, 150], set())])
def test_who_was_lost_twice_waits_for_those_before_him_and_for_nobody_else(
    others: list[float], found: set[str]
) -> None:
    """They run one by one: for as long as others are claimed from time to time."""
    story = good()
    for name, seconds in (("x", 200.0), *((f"before-{at}", at) for at in others)):
        story.create(name, 1, name)
        story.call("create", 1, name, marker=name, code=201)
        for lost in (1, 2):
            story.claim(name, 1 + lost)
            story.move(name, "pending", 1.5 + lost, claim_id=None, lost_count=lost)
        story.claim(name, 3.5 + seconds)
        story.complete(name, 4 + seconds)
    verdict = check(story.history)
    assert set(verdict.by_rule()) - {claims.OUTLIVED} == found
    assert verdict.waits.longest_alone == pytest.approx(200)
