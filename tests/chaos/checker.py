"""Reads a history and says what in it should not have been. `python -m tests.chaos.checker FILE` checks a kept one."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    refusals,
    ticks,
    waits,
    work,
)
from tests.chaos.checks.creates import Creates
from tests.chaos.checks.index import Check, Index, Violation
from tests.chaos.checks.waits import Waits
from tests.chaos.history import History, Outcome
from tests.chaos.keeping import read_history

CHECKS: tuple[Check, ...] = (
    answers.answers,
    creates.creates,
    ticks.ticks,
    asked.asked,
    moves.moves,
    moves.retries,
    moves.last_rows,
    claims.fresh,
    claims.held,
    claims.runs,
    claims.stops,
    claims.innocents,
    outcomes.outcomes,
    outcomes.last_words,
    cancels.cancels,
    cancels.refusals,
    cancels.sources,
    refusals.refusals,
    refusals.granted,
    reads.versions,
    reads.seen,
    reads.found,
    groups.groups,
    groups.reads,
    group_times.cancels,
    group_times.rests,
    group_times.ends,
    work.effects,
    work.fences,
    work.keys,
    waits.waits,
    waits.starts,
    waits.dues,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker found."""

    creates: Creates
    violations: Sequence[Violation]
    waits: Waits  # of tasks that were due
    outcomes: Counter[Outcome]  # of all calls

    def by_rule(self) -> Counter[str]:
        """How many violations there are of each kind."""
        return Counter(violation.rule for violation in self.violations)


def check(history: History) -> Verdict:
    """All checks. The history must have settled: what is then not ended is stuck."""
    index = Index(history)
    return Verdict(
        creates=creates.count_creates(index),
        violations=[violation for each in CHECKS for violation in each(index)],
        waits=waits.measure(index),
        outcomes=Counter(call.outcome for call in history.calls),
    )


def main() -> int:
    """Check the history in a file that the driver has kept."""
    verdict = check(read_history(Path(sys.argv[1])))
    for violation in verdict.violations:
        sys.stdout.write(f"{violation}\n")
    sys.stdout.write(f"{len(verdict.violations)} violations\n")
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
