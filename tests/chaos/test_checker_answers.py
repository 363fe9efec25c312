"""The checker says so when a client is left without an answer that nothing keeps from him."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos import lateness
from tests.chaos.checks import answers
from tests.chaos.good import broken_by
from tests.chaos.history import Injected, Outcome
from tests.chaos.story import START, Story

AT = 20_000.0  # when nothing is broken


def _unanswered(story: Story, verb: str = "create", *ids: str, **fields: Any) -> None:
    story.call(verb, AT, *ids, **({"marker": "x", "outcome": Outcome.UNKNOWN, "code": 0} | fields))


def _during(story: Story, fault: str, target: str, **fields: Any) -> None:
    story.history.injected.append(Injected(fault, START + AT - 2, START + AT - 1, target))
    _unanswered(story, **fields)


CASES: dict[str, tuple[Callable[[Story], Any], set[str]]] = {
    "a create without an answer": (_unanswered, {answers.UNCERTAIN}),
    "a create refused with 500": (lambda s: _unanswered(s, code=500), {answers.UNCERTAIN}),
    "a read without an answer": (lambda s: _unanswered(s, "read", "plain", marker=""), {answers.UNCERTAIN}),
    "no answer while consumers die": (lambda s: _during(s, "kill-consumer", "c"), {answers.UNCERTAIN}),
    "no answer while Redis is down": (lambda s: _during(s, "redis-down", "redis"), {answers.UNCERTAIN}),
    "no answer while consumers are frozen, and no API is": (
        lambda s: _during(s, "freeze", "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"),
        {answers.UNCERTAIN},
    ),
    "no answer while links are broken that it does not need": (
        lambda s: _during(s, "link-hole", "api-redis, consumer-postgres"),
        {answers.UNCERTAIN},
    ),
    "a late answer": (
        lambda s: _unanswered(s, ended=START + AT + 5.1, outcome=Outcome.FAIL, code=422),
        {answers.LATE},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_wrong_is_called_by_its_name(name: str) -> None:
    """Spoiled in one way, the good history breaks exactly the rules that stand beside it."""
    spoil, rules = CASES[name]
    assert broken_by(spoil) == rules


@pytest.mark.parametrize(
    ("fault", "target"),
    [
        ("postgres-crash", "postgresql"),
        ("kill-api", "17"),
        ("freeze", "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21, 17"),
        ("link-hole", "api-postgres, consumer-redis"),
        ("link-cut", "client-api"),
        (lateness.LATE, "machine"),
    ],
)
def test_what_a_call_needs_may_be_broken(fault: str, target: str) -> None:
    """And for some seconds after that."""
    assert not broken_by(lambda story: _during(story, fault, target))
    assert not broken_by(lambda story: _during(story, fault, target, ended=START + AT + 8))


def test_it_may_be_too_much_at_a_time() -> None:
    """For the connections to PostgreSQL that an API has."""
    assert not broken_by(lambda story: _unanswered(story, code=429))


def test_a_read_may_wait() -> None:
    """For as long as it has asked to."""
    assert not broken_by(
        lambda story: story.call("read", AT, "plain", ended=START + AT + 6.9, status="completed", version=3)
    )
