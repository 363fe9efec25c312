"""The checker says so when checkpoints are wrong, or concurrency keys."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checks import work
from tests.chaos.good import broken_by
from tests.chaos.story import START, Story


def _written_after_a_cancel(story: Story) -> None:
    """Long after that was acknowledged, by the run that had been canceled."""
    for number in (1, 2, 3):
        story.write("canceled", number, 9)


CASES: dict[str, tuple[Callable[[Story], Any], set[str]]] = {
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
    "effects of a canceled task": (_written_after_a_cancel, {work.UNFENCED}),
    "an effect past the fence": (
        lambda s: s.history.effects.append(s.history.effects.pop()._replace(holder="", status="")),
        {work.UNFENCED},
    ),
    "a cursor that is elsewhere": (lambda s: s.rows["recovered"].update(cursor=1), {work.CURSOR}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_wrong_is_called_by_its_name(name: str) -> None:
    """Spoiled in one way, the good history breaks exactly the rules that stand beside it."""
    spoil, rules = CASES[name]
    assert broken_by(spoil) == rules
