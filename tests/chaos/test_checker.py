"""The checker passes what is right, and for each kind of wrong says which it is."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.checks import cancels, claims, creates, groups, moves, outcomes, reads, waits, work
from tests.chaos.history import Outcome, Run
from tests.chaos.keeping import read_history, write_history
from tests.chaos.story import START, Story, broken_by, good
from tests.chaos.test_checker_outcomes import CASES as OUTCOMES
from tests.chaos.test_checker_work import CASES as WORK

Spoil = Callable[[Story], Any]


def test_a_good_history_passes() -> None:
    """Nothing is wrong with it, and what it has is counted."""
    verdict = check(good().history)
    assert not verdict.violations
    counts = verdict.creates.attempted, verdict.creates.acknowledged, verdict.creates.recovered
    assert counts == (8, 9, 1)
    assert verdict.waits.longest == pytest.approx(1)


def _row(story: Story, name: str, **columns: Any) -> None:
    story.rows[name].update(columns)


def _content(story: Story, name: str, **content: Any) -> None:
    story.rows[name]["content"].update(content)


def _canceled_twin(story: Story, name: str, **columns: Any) -> None:
    """One more task, which has not run."""
    story.create(name, 1, **columns)
    story.move(name, "canceled", 1.1)


def _stale_by_status(story: Story) -> None:
    """The first run of a task that was recovered ends it under the claim of the second."""
    _row(story, "recovered", result={"claim": "recovered-1"})


def _finished_by_id(story: Story) -> None:
    """A run ends when its task has been taken away."""
    story.create("zombie", 1, "zombie")
    story.call("create", 1, marker="zombie", outcome=Outcome.UNKNOWN)
    story.claim("zombie", 1.1)
    story.run("zombie", 1.2, "done")
    story.move("zombie", "pending", 1.2, claim_id=None, lost_count=1)
    story.move("zombie", "completed", 1.3)


def _overridden(story: Story) -> None:
    story.move("canceled", "completed", 4, result={"claim": "canceled-1"})
    story.run("canceled", 4, "done")


def _reopened(story: Story) -> None:
    """A second life that no client has asked for."""
    story.move("failed", "pending", 4, claim_id=None, attempt=0, error=None)
    story.move("failed", "canceled", 4.1)


def _reopened_midway(story: Story) -> None:
    """A retry that keeps what it should forget."""
    story.edit_change("failed", 5, lost_count=1)


def _claimed_anew(story: Story) -> None:
    """A claim that has the id of another's."""
    story.edit_change("plain", 1, claim="unknown-1")
    story.edit_change("plain", 2, claim="unknown-1", old_claim="unknown-1")
    _row(story, "plain", claim_id="unknown-1", result={"claim": "unknown-1"})
    story.history.runs = [run for run in story.history.runs if run.task != "plain"]


def _died_too_often(story: Story) -> None:
    """A poison that is given up one loss too early."""
    story.create("poison", 1, "poison")
    story.call("create", 1, marker="poison", outcome=Outcome.UNKNOWN)
    story.claim("poison", 1.1)
    story.move("poison", "failed", 1.2, lost_count=1, code="consumer_lost")


def _second_start(story: Story) -> None:
    story.history.runs.append(Run(START + 1.5, "plain", "plain-1", 1, "start", 2))


def _without_end(story: Story) -> None:
    story.history.runs = [run for run in story.history.runs if (run.task, run.phase) != ("plain", "done")]


CASES: dict[str, tuple[Spoil, set[str]]] = {
    # Creates.
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
        {creates.DUPLICATED},
    ),
    "two tasks of one tick": (
        lambda s: _canceled_twin(s, "new", marker="schedule", run_at=START),
        {creates.DUPLICATED},
    ),
    # Moves.
    "a terminal row overwritten": (_overridden, {moves.OVERWRITTEN, cancels.OVERRIDDEN}),
    "completed without a claim": (_finished_by_id, {moves.ILLEGAL, outcomes.UNLIKE}),
    "a step left out": (
        lambda s: s.edit_change("plain", 1, old="failed"),
        {moves.BROKEN, moves.OVERWRITTEN, moves.TOO_MANY, claims.MISCOUNTED},
    ),
    "a claim from nowhere": (lambda s: s.edit_change("plain", 1, old_claim="other"), {moves.BROKEN}),
    "another claim at the end": (
        lambda s: s.edit_change("plain", 2, claim="other"),
        {claims.FOREIGN, moves.ELSEWHERE},
    ),
    "a row that is elsewhere": (lambda s: _row(s, "callback", status="pending"), {moves.ELSEWHERE, moves.STUCK}),
    "a row without a history": (lambda s: s.changes.remove(s.changes[0]), {moves.BROKEN, reads.NEVER}),
    "still pending": (
        lambda s: s.create("new", 1, kind="callback", callback_of="plain"),
        {moves.STUCK},
    ),
    "reopened by nobody": (_reopened, {moves.TOO_MANY}),
    "retried without effect": (lambda s: s.call("retry", 4, "failed"), {moves.NO_RETRY}),
    "a retry that keeps attempts": (_reopened_midway, {moves.OVERWRITTEN, claims.MISCOUNTED}),
    # Claims.
    "a claim used twice": (_claimed_anew, {claims.REUSED}),
    "processing without a claim": (
        lambda s: s.edit_change("plain", 1, consumer=""),
        {claims.UNCLAIMED},
    ),
    "an attempt too many": (lambda s: s.edit_change("unknown", 2, attempt=2), {claims.MISCOUNTED, moves.ELSEWHERE}),
    "a loss too many": (lambda s: s.edit_change("recovered", 2, lost_count=2), {claims.MISCOUNTED}),
    "given up too early": (_died_too_often, {claims.MISCOUNTED}),
    "two runs under one claim": (_second_start, {claims.TWO_STARTS}),
    "a run that nobody has claimed": (
        lambda s: s.history.runs.append(Run(START, "plain", "other", 1, "start", 2)),
        {claims.UNKNOWN_RUN},
    ),
    "a run that counts otherwise": (
        lambda s: s.history.runs.append(Run(START, "callback", "plain-1", 1, "start", 2)),
        {claims.TWO_STARTS, claims.UNKNOWN_RUN},
    ),
    "completed while its run goes on": (_without_end, {outcomes.NO_END}),
    "completed by the run of an earlier claim": (_stale_by_status, {outcomes.STALE}),
    "failed by the run of an earlier claim": (lambda s: _row(s, "failed", error={"attempt": 2}), {outcomes.STALE}),
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
    # Reads.
    "an older version": (
        lambda s: s.call("read", 6, "plain", status="processing", version=2),
        {reads.BACKWARDS},
    ),
    "not found": (lambda s: s.call("read", 6, "plain", outcome=Outcome.FAIL, code=404), {reads.MISSING}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_wrong_is_called_by_its_name(name: str) -> None:
    """Spoiled in one way, the good history breaks exactly the rules that stand beside it."""
    spoil, rules = CASES[name]
    assert broken_by(spoil) == rules


def test_each_rule_has_its_case() -> None:
    """No rule goes untried."""
    modules = (cancels, claims, creates, groups, moves, outcomes, reads, waits, work)
    rules = {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and type(value) is str and not name.startswith("_")
    }
    assert rules == set().union(*(rules for _, rules in (CASES | OUTCOMES | WORK).values()))


def test_evidence_says_which() -> None:
    """Ids, times and claims, in one line."""
    story = good()
    _overridden(story)
    (first, *_) = check(story.history).violations
    assert str(first) == (
        "terminal overwritten: task canceled canceled -> completed at 13:47:04.000, "
        "claim canceled-1 -> canceled-1, attempt 1, lost 0"
    )


def test_a_history_can_be_kept(tmp_path: Path) -> None:
    """What is read from the file is judged as what was written."""
    story = good()
    _overridden(story)
    write_history(story.history, tmp_path / "history.gz")
    kept = read_history(tmp_path / "history.gz")
    assert check(kept).violations == check(story.history).violations
    assert kept.calls == story.history.calls


def test_it_is_fast() -> None:
    """A full run has a million transitions, for which there are two minutes."""
    story = good()
    for number in range(20_000):
        name, at = f"task-{number}", number / 10
        story.create(name, at, name)
        story.call("create", at, name, marker=name, code=201)
        story.claim(name, at + 0.1)
        story.complete(name, at + 0.2)
        story.call("read", at + 0.3, name, status="completed", version=3)
    begun = time.process_time()
    assert not check(story.history).violations
    assert time.process_time() - begun < 120 * len(story.changes) / 1_000_000
