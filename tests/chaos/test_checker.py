"""The checker passes what is right, and for each kind of wrong says which it is."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import lateness
from tests.chaos.checker import check
from tests.chaos.checks import (
    answers,
    asked,
    cancels,
    claims,
    creates,
    group_times,
    groups,
    moves,
    outcomes,
    reads,
    ticks,
    waits,
    work,
)
from tests.chaos.good import broken_by, good
from tests.chaos.history import Injected, Outcome, Run
from tests.chaos.keeping import read_history, write_history
from tests.chaos.story import START, Story
from tests.chaos.test_checker_answers import CASES as ANSWERS
from tests.chaos.test_checker_creates import CASES as CREATES
from tests.chaos.test_checker_groups import CASES as GROUPS
from tests.chaos.test_checker_outcomes import CASES as OUTCOMES
from tests.chaos.test_checker_seen import CASES as SEEN
from tests.chaos.test_checker_waits import CASES as WAITS
from tests.chaos.test_checker_work import CASES as WORK

Spoil = Callable[[Story], Any]


def test_a_good_history_passes() -> None:
    """Nothing is wrong with it, and what it has is counted."""
    verdict = check(good().history)
    assert not verdict.violations
    counts = verdict.creates.attempted, verdict.creates.acknowledged, verdict.creates.recovered
    assert counts == (10, 16, 1)
    assert verdict.waits.longest[waits.Sort.CALM] == pytest.approx(1)


def _row(story: Story, name: str, **columns: Any) -> None:
    story.rows[name].update(columns)


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
    story.call("cancel", 4.05, "failed", status="canceled")
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


def _thrown_away(story: Story) -> None:
    """An innocent that was lost three times, and so not left to run alone."""
    story.create("innocent", 1, "innocent")
    story.call("create", 1, marker="innocent", outcome=Outcome.UNKNOWN)
    for lost in (1, 2, 3):
        story.claim("innocent", 1 + lost / 10)
        if lost < claims.MAX_LOST:
            story.move("innocent", "pending", 1.05 + lost / 10, lost_count=lost, claim_id=None, code="consumer_lost")
    story.move("innocent", "failed", 1.35, lost_count=3, code="consumer_lost")


def _second_start(story: Story) -> None:
    story.history.runs.append(Run(START + 1.5, "plain", "plain-1", 1, "start", 2))


def _without_end(story: Story) -> None:
    story.history.runs = [run for run in story.history.runs if (run.task, run.phase) != ("plain", "done")]


CASES: dict[str, tuple[Spoil, set[str]]] = {
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
    "a row that is elsewhere": (
        lambda s: _row(s, "callback", status="pending"),
        {moves.ELSEWHERE, moves.STUCK, cancels.OVERRIDDEN},
    ),
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
    "given up too early": (_died_too_often, {claims.MISCOUNTED, claims.THROWN_AWAY}),
    "an innocent given up": (_thrown_away, {claims.THROWN_AWAY}),
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
}


@pytest.mark.parametrize("name", CASES)
def test_each_wrong_is_called_by_its_name(name: str) -> None:
    """Spoiled in one way, the good history breaks exactly the rules that stand beside it."""
    spoil, rules = CASES[name]
    assert broken_by(spoil) == rules


@pytest.mark.parametrize(
    ("fault", "target"), [("link-hole", "api-redis, consumer-postgres"), (lateness.LATE, "machine")]
)
def test_who_runs_alone_may_be_cut_off(fault: str, target: str) -> None:
    """No beat of its process gets through, so that it is taken for dead."""
    story = good()
    _thrown_away(story)
    story.history.injected.append(Injected(fault, START + 0.5, START + 1, target))
    assert not check(story.history).violations


def test_each_rule_has_its_case() -> None:
    """No rule goes untried."""
    modules = answers, asked, cancels, claims, creates, group_times, groups, moves, outcomes, reads, ticks, waits, work
    cases = CASES | ANSWERS | CREATES | GROUPS | OUTCOMES | SEEN | WAITS | WORK
    rules = {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and type(value) is str and not name.startswith("_")
    }
    assert rules == set().union(*(rules for _, rules in cases.values()))


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
