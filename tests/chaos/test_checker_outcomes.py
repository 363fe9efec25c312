"""The checker says so when a task becomes what its handler did not make of it, or a client sees what never was."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.checks import cancels, claims, moves, outcomes
from tests.chaos.good import broken_by, good
from tests.chaos.history import Run
from tests.chaos.story import START, Story
from tests.chaos.weakened import Proof


def _forget_reads(story: Story, name: str) -> None:
    story.history.calls = [call for call in story.history.calls if call.verb != "read" or name not in call.ids]


def _failed_though_done(story: Story) -> None:
    """With a neighbour's message, and a code of which its handler knows nothing."""
    _forget_reads(story, "plain")
    error = {"code": "timeout", "message": "someone else's", "attempt": 1}
    story.edit_change("plain", 2, new="failed", error_code="timeout", message="someone else's")
    story.rows["plain"].update(status="failed", result=None, error=error, max_attempts=1)


def _completed_though_failed(story: Story) -> None:
    story.edit_change("failed", 7, new="completed", error_code="", message="")
    story.rows["failed"].update(status="completed", error=None, result={"claim": "failed-3"})


def _twice_held(story: Story) -> None:
    """A lost its claim, and B's handler runs."""
    story.create("x", 1, "x", kind="chaos_sleep")
    story.call("create", 1, "x", marker="x", code=201)
    story.claim("x", 1.1)
    story.move("x", "pending", 2, claim_id=None, lost_count=1)
    story.claim("x", 2.1)


def _end_twice_held(story: Story) -> None:
    """B's handler ends, and C's."""
    story.claim("x", 2.3)
    story.history.runs.append(Run(START + 2.4, "x", "x-2", 2, "done", 2))
    story.complete("x", 2.5)


def _released_by_another(story: Story) -> None:
    _twice_held(story)
    story.move("x", "pending", 2.2, claim_id=None, attempt=1)
    _end_twice_held(story)


def _retried_by_another(story: Story, message: str) -> None:
    _twice_held(story)
    story.move("x", "pending", 2.2, code="handler_error", message=message)
    _end_twice_held(story)


def _canceled_too_late(story: Story) -> None:
    """B's handler is stopped since A has given B's claim back."""
    story.edit_change("released", 2, at=START + 3.15)


def _given_up(story: Story) -> None:
    story.create("x", 1, "x")
    story.call("create", 1, "x", marker="x", code=201)
    story.claim("x", 1.1)
    story.run("x", 1.2, "retry")
    story.move("x", "failed", 1.2, code="handler_error", message="Not yet, x-1.")


def _run_out(story: Story) -> None:
    """Of a time that nobody has set."""
    story.create("x", 1, "x", max_attempts=1)
    story.call("create", 1, "x", marker="x", code=201)
    story.claim("x", 1.1)
    story.run("x", 1.2, "canceled")
    story.move("x", "failed", 1.2, code="timeout", message="It took too long.")


def _died(story: Story, kind: str) -> None:
    """As it is told: by its consumer."""
    story.create("x", 1, "x", kind=kind)
    story.call("create", 1, "x", marker="x", code=201)
    story.claim("x", 1.1)
    story.move("x", "pending", 1.2, code="handler_error", message="The handler's process died: SIGKILL")
    story.claim("x", 1.3)
    story.complete("x", 1.4)


def _tried_once_more(story: Story) -> None:
    story.create("x", 1, "x", max_attempts=1)
    story.call("create", 1, "x", marker="x", code=201)
    story.claim("x", 1.1)
    story.again("x", 1.2)
    story.claim("x", 1.3)
    story.complete("x", 1.4)


def _runs_on(story: Story) -> None:
    """Started after the cancel, and never stopped, by a consumer that is well."""
    runs = [run for run in story.history.runs if run.claim != "canceled-1"]
    story.history.runs = [*runs, Run(START + 5, "canceled", "canceled-1", 1, "start", 1)]
    story.create("later", 40, "later")
    story.call("create", 40, "later", marker="later", code=201)
    story.claim("later", 40.1)
    story.complete("later", 40.2)


def _vanished(story: Story) -> None:
    """Its transitions are there."""
    story.history.tasks = [row for row in story.history.tasks if row["id"] != "unknown"]


def _deleted(story: Story) -> None:
    story.move("unknown", "deleted", 3)
    _vanished(story)


def _touched(story: Story) -> None:
    """Another result of the same task."""
    story.move("unknown", "completed", 3, result={"claim": "unknown-1", "more": 1})


CASES: dict[str, tuple[Callable[[Story], Any], set[str]]] = {
    # Outcomes.
    "failed, though its handler was done": (_failed_though_done, {outcomes.UNLIKE}),
    "completed, though its handler failed": (_completed_though_failed, {outcomes.UNLIKE}),
    "completed without a result": (lambda s: s.rows["plain"].update(result=None), {outcomes.UNLIKE}),
    "completed with an empty result": (lambda s: s.rows["plain"].update(result={}), {outcomes.UNLIKE}),
    "failed without an error": (lambda s: s.rows["failed"].update(error=None), {outcomes.UNLIKE}),
    "failed with another error": (
        lambda s: s.rows["failed"]["error"].update(message="someone else's"),
        {outcomes.UNLIKE},
    ),
    "failed with attempts left": (_given_up, {outcomes.GIVEN_UP}),
    "given back by another": (_released_by_another, {outcomes.GIVEN_AWAY}),
    "given back before its handler was stopped": (_canceled_too_late, {outcomes.GIVEN_AWAY}),
    "tried again by another": (lambda s: _retried_by_another(s, "Not yet, x-1."), {outcomes.STALE}),
    "tried again by nobody": (lambda s: _retried_by_another(s, "Not yet."), {outcomes.NO_END}),
    "a time that is over, though it has none": (_run_out, {outcomes.UNLIKE}),
    "a process that died, though it has none": (lambda s: _died(s, "chaos_noop"), {outcomes.NO_END}),
    "tried again with no attempts left": (_tried_once_more, {outcomes.USED_UP}),
    # Claims.
    "a run that does not stop": (_runs_on, {claims.OUTLIVED}),
    # Moves.
    "a row that vanished": (_vanished, {moves.ELSEWHERE}),
    "a row deleted": (
        _deleted,
        {moves.ELSEWHERE, moves.OVERWRITTEN},
    ),
    "an ended row touched": (_touched, {moves.OVERWRITTEN, outcomes.UNLIKE}),
    "versions that do not grow": (lambda s: s.edit_change("unknown", 2, version=2), {moves.BROKEN}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_wrong_is_called_by_its_name(name: str) -> None:
    """Spoiled in one way, the good history breaks exactly the rules that stand beside it."""
    spoil, rules = CASES[name]
    assert broken_by(spoil) == rules


def test_a_process_of_its_own_may_die() -> None:
    """Its handler notes nothing then."""
    story = good()
    _died(story, "chaos_block_in_child")
    assert not check(story.history).violations


def test_a_release_of_what_has_not_begun_is_right() -> None:
    """Its claim's answer was lost on the way."""
    story = good()
    story.history.runs = [run for run in story.history.runs if run.claim != "released-1"]
    assert not check(story.history).violations


@pytest.mark.parametrize(
    ("build", "found", "holds"),
    [
        ("hears-late", [], True),
        ("hears-late", [outcomes.STALE], False),
        ("by-id", [moves.OVERWRITTEN, cancels.OVERRIDDEN], True),
        ("by-id", [outcomes.STALE, moves.OVERWRITTEN], False),
        ("by-status", [outcomes.STALE, moves.ILLEGAL], True),
        ("by-status", [moves.ILLEGAL], False),
    ],
)
def test_a_weak_build_is_known_by_what_it_does(build: str, found: list[str], *, holds: bool) -> None:
    """Something wrong is not enough."""
    assert Proof(build, Counter(found), 1, 0).holds == holds
