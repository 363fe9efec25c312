"""The checker says so when somebody who is due waits for too long."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.checks import claims, waits
from tests.chaos.checks.patience import CALM_SECONDS, TOUCHED_SECONDS
from tests.chaos.checks.suspects import EACH_SECONDS, FIRST_SECONDS
from tests.chaos.checks.waits import CHILD_SECONDS, Sort
from tests.chaos.good import broken_by, good
from tests.chaos.history import Injected
from tests.chaos.story import START, Story


def _wait(story: Story, seconds: float, at: float = 100, **columns: Any) -> None:
    """A task is created, and claimed so much later."""
    story.create("x", at, "x", **columns)
    story.call("create", at, "x", marker="x", code=201)
    story.claim("x", at + seconds)
    story.complete("x", at + seconds + 0.1)


def _killed(story: Story) -> None:
    """A consumer dies every other second."""
    story.history.injected += [
        Injected("kill-consumer", at, at + 0.05, "c") for at in range(int(START), int(START) + 1_000, 2)
    ]


def _starved(story: Story) -> None:
    _killed(story)
    _wait(story, TOUCHED_SECONDS + 0.1)


def _starved_of_hints(story: Story) -> None:
    """Redis is down, and everybody polls."""
    story.history.injected.append(Injected("redis-down", START + 90, START + 150, "redis"))
    _wait(story, CALM_SECONDS + 0.1)


def _starved_again(story: Story) -> None:
    """After it was given back."""
    story.create("x", 100, "x")
    story.call("create", 100, "x", marker="x", code=201)
    story.claim("x", 100.1)
    story.run("x", 100.2, "canceled")
    story.move("x", "pending", 100.2, claim_id=None, attempt=0)
    story.claim("x", 104)
    story.complete("x", 104.1)


def _starved_by_a_claim(story: Story) -> None:
    """Of which the key has had none since 100.2; one more that waits is canceled, and makes no room by that."""
    for name, at in (("before", 100.0), ("beside", 100.1)):
        story.create(name, at, name, concurrency_key="key")
        story.call("create", at, name, marker=name, code=201)
    story.claim("before", 100.1)
    story.complete("before", 100.2)
    story.call("cancel", 103.9, "beside", status="canceled", version=2)
    story.move("beside", "canceled", 104)
    story.edit_change("beside", 1, was_blocked=True)
    _wait(story, 4.5, concurrency_key="key")


def _tick(story: Story, seconds: float) -> None:
    """The schedule's second one, whose task is made so late, and claimed at once."""
    story.create("late tick", 60 + seconds, "schedule", run_at=START + 60)
    story.claim("late tick", 60 + seconds + 0.01)
    story.complete("late tick", 60 + seconds + 0.1)


def _nobody_waits(story: Story) -> None:
    story.history.transitions.clear()
    story.history.tasks.clear()
    story.history.calls.clear()
    story.history.groups.clear()
    story.history.runs.clear()
    story.history.effects.clear()


CASES: dict[str, tuple[Callable[[Story], Any], set[str]]] = {
    "a long wait": (lambda s: _wait(s, CALM_SECONDS + 0.1), {waits.WAITED}),
    "starved while consumers die": (_starved, {waits.WAITED}),
    "starved while Redis is down": (_starved_of_hints, {waits.WAITED}),
    "starved after it was given back": (_starved_again, {waits.WAITED}),
    "starved of its key, which nobody holds": (lambda s: _wait(s, 4, concurrency_key="key"), {waits.WAITED}),
    "starved of its key, though others are canceled": (_starved_by_a_claim, {waits.WAITED}),
    "a tick that comes late": (lambda s: _tick(s, CALM_SECONDS + 0.1), {waits.WAITED}),
    "claimed too early": (lambda s: _wait(s, 1, run_at=START + 200), {waits.EARLY}),
    "recovered, and due later": (lambda s: s.edit_change("recovered", 2, run_at=START + 4.05), {waits.PUT_OFF}),
    "given back, and due later": (lambda s: s.edit_change("released", 2, run_at=START + 3.25), {waits.PUT_OFF}),
    "tried again later than its kind says": (
        lambda s: s.edit_change("failed", 2, run_at=START + 604),
        {waits.PUT_OFF},
    ),
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
    story.history.injected.append(Injected("kill-consumer", START + 101, START + 102, "consumer"))
    _wait(story, TOUCHED_SECONDS - 0.1)
    verdict = check(story.history)
    assert not verdict.violations
    assert verdict.waits.longest[Sort.TOUCHED] == pytest.approx(TOUCHED_SECONDS - 0.1)
    story = good()
    story.history.injected.append(Injected("postgres-crash", START + 101, START + 131, "postgresql"))
    _wait(story, TOUCHED_SECONDS + 29, concurrency_key="key")
    assert not check(story.history).violations


def test_a_tick_may_wait_for_a_sweep() -> None:
    """And for a claim after that."""
    story = good()
    _tick(story, CALM_SECONDS - 0.1)
    assert not check(story.history).violations


def test_a_cancel_makes_room_where_the_task_had_been_let_through() -> None:
    """It had its place, and was not claimed yet."""
    story = good()
    _starved_by_a_claim(story)
    story.edit_change("beside", 1, was_blocked=False)
    assert "task x" not in str(check(story.history).violations)


@pytest.mark.parametrize(
    ("seconds", "found"), [(CHILD_SECONDS - 1, set()), (CHILD_SECONDS + 1, {waits.WAITED})], ids=["short", "long"]
)
def test_what_runs_in_a_child_may_wait_for_the_one_consumer_that_has_some(seconds: float, found: set[str]) -> None:
    """For longer, and not for ever."""
    assert broken_by(lambda s: _wait(s, seconds, at=1, kind="chaos_steps_in_child")) == found


@pytest.mark.parametrize(("priority", "is_found"), [(1, False), (2, True)], ids=["higher", "its own"])
def test_where_one_consumer_has_children_a_low_priority_waits_for_the_others(priority: int, *, is_found: bool) -> None:
    """A queue that is never empty comes to its low ones last; among themselves they wait as any other."""

    def starved(story: Story) -> None:
        _wait(story, CHILD_SECONDS + 1, at=1, kind="chaos_steps_in_child", priority=2)
        story.create("ahead", 31, "x", kind="chaos_steps_in_child", priority=priority)
        story.claim("ahead", 31.5)
        story.complete("ahead", 31.6)

    assert (waits.WAITED in broken_by(starved)) is is_found


@pytest.mark.parametrize(
    ("others", "first", "found"),
    [
        ([], 1.0, {waits.WAITED}),
        ([10.0, 20.0], 1.0, set()),
        ([10.0, 20.0], 1.2, set()),
        ([10.0, 20.0], 1.5, {waits.WAITED}),
        ([1.0, 2.0], 1.0, {waits.WAITED}),
    ],
    ids=["nobody before him", "those before him", "those lost with him", "who came later", "nobody for half a minute"],
)
def test_who_was_lost_twice_waits_for_those_before_him_and_for_nobody_else(
    others: list[float], first: float, found: set[str]
) -> None:
    """They run one by one, in the order in which they came; others are claimed so many seconds after him."""
    story = good()
    seconds = FIRST_SECONDS + 2 * EACH_SECONDS - 1
    for name, created, after in (("x", 1.2, seconds), *((f"other-{at}", first, at) for at in others)):
        story.create(name, created, name)
        story.call("create", created, name, marker=name, code=201)
        for lost in (1, 2):
            story.claim(name, created + lost)
            story.move(name, "pending", created + lost + 0.5, claim_id=None, lost_count=lost)
        story.claim(name, 4 + after)
        story.complete(name, 4.1 + after)
    verdict = check(story.history)
    assert set(verdict.by_rule()) - {claims.OUTLIVED} == found


def test_who_was_lost_twice_waits_for_no_priority_in_a_queue_of_others() -> None:
    """A quarantine runs it, and not the one consumer that serves children."""
    story, at = good(), 4 + FIRST_SECONDS + 10
    story.create("x", 1.2, "x", kind="chaos_steps_in_child", priority=2)
    for lost in (1, 2):
        story.claim("x", 1.2 + lost)
        story.move("x", "pending", 1.7 + lost, claim_id=None, lost_count=lost)
    story.create("ahead", at - 1, "x", 1, kind="chaos_steps_in_child", priority=0)
    story.claim("ahead", at - 0.5)
    story.complete("ahead", at - 0.4)
    story.claim("x", at)
    story.complete("x", at + 0.1)
    assert waits.WAITED in check(story.history).by_rule()
