"""What is told at the end: a line for each fault, totals, every violation, and how to do it again."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.checker import Verdict
from tests.chaos.fault import Fault, Finding
from tests.chaos.history import History, Outcome
from tests.chaos.process import Exit, Why
from tests.chaos.weakened import Proof

BEGIN, END = "<!-- chaos -->", "<!-- end -->"
_MOST_TOLD = 5  # violations of a kind; all are in the file that is kept, and as a whole
_LONGEST_TOLD = 400


@dataclass(slots=True)
class Result:
    """A fault, how often it was to be injected, and what came of it."""

    fault: Fault
    dose: int
    finding: Finding

    @property
    def violations(self) -> list[str]:
        """Of the fault itself; that it could not do its dose is one."""
        done = self.finding.injected
        if self.finding.skipped or done >= self.dose:
            return self.finding.violations
        return [*self.finding.violations, f"injected {done} times only, of {self.dose}"]


@dataclass(slots=True)
class Report:
    """All of one run."""

    seed: int
    seconds: float
    build: str
    is_partial: bool  # only some of the faults
    took: float = 0.0
    proofs: Sequence[Proof] = ()
    results: list[Result] = field(default_factory=list)
    exits: Sequence[Exit] = ()  # that nobody asked for, allowed by a fault or not
    starved: int = 0  # of these, consumers that were declared dead while the machine itself was late for a beat
    lateness: str = ""  # of the machine, which no fault is to blame for
    unsettled: list[str] = field(default_factory=list)  # stuck tasks, and exits that no fault allows
    verdict: Verdict | None = None
    history: History | None = None

    @property
    def violations(self) -> list[str]:
        """Every one, of whatever found it."""
        found = [f"the checker's proof: {proof}" for proof in self.proofs if not proof.holds]
        found += [f"{result.fault.name}: {text}" for result in self.results for text in result.violations]
        found += self.unsettled
        return found + [str(violation) for violation in self.verdict.violations] if self.verdict else found

    @property
    def command(self) -> str:
        """What replays it."""
        names = sorted(result.fault.name for result in self.results)
        build = "" if self.build == "normal" else f" --build {self.build}"
        only = f" --only {','.join(names)}" if self.is_partial else ""
        return f"python -m tests.chaos --seconds {self.seconds:g} --seed {self.seed}{only}{build}"

    def markdown(self) -> str:
        """Table, totals, violations, the command, and what each fault measured."""
        table = ["| fault | injected | passes when | found |", "|---|---|---|---|"]
        table += [self._line_of_checker(), self._line_of_processes(), *map(_line, self.results)]
        parts = [table, self._totals(), self._found(), [f"Again: `{self.command}`"], ["What each fault measured:"]]
        parts.append([_measured(result) for result in self.results])
        return "\n\n".join("\n".join(part) for part in parts if part) + "\n"

    def _line_of_processes(self) -> str:
        passes = "all that is due ends when the load pauses; no process ends for a reason that its fault does not allow"
        return f"| *all of it: tasks and processes* | - | {passes} | {_found(self.unsettled)} |"

    def _exits(self) -> str:
        by_why: dict[Why, list[str]] = {}
        counts = Counter((end.why, end.fault or "allowed by no fault") for end in self.exits)
        for (why, fault), count in counts.most_common():
            by_why.setdefault(why, []).append(f"{count} {fault}")
        exits = "; ".join(f"{why}: {', '.join(words)}" for why, words in by_why.items()) or "none"
        return f"{exits}; {self.starved} of them while the machine itself was late" if self.starved else exits

    def _line_of_checker(self) -> str:
        """What the checker finds belongs to the history, not to a fault: it does not know which one it comes from."""
        if self.verdict is None or self.history is None:
            return "| *all of it: the checker* | - | it gets to read a history | **not judged** |"
        rules = "".join(f"; {count} x {rule}" for rule, count in self.verdict.by_rule().most_common())
        passes = "0 lost, 0 unexpected, 0 duplicated, I1 to I5 and every other rule of the checker"
        return f"| *all of it: the checker* | - | {passes} | {_found(self.verdict.violations)}{rules} |"

    def _totals(self) -> list[str]:
        totals = [f"- the checker's proof: {proof}" for proof in self.proofs]
        if self.verdict is None or self.history is None:
            return totals
        creates, outcomes = self.verdict.creates, self.verdict.outcomes
        calls = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common())
        history = self.history
        did = [
            f"{outcomes.total():,} calls ({calls})",
            f"{len(history.tasks):,} tasks and {len(history.groups):,} groups",
            f"{len(history.transitions):,} transitions",
            f"{len(history.runs):,} notes of handlers",
            f"{len(history.effects):,} rows written through checkpoints",
        ]
        found = {"lost": creates.lost, "unexpected": creates.unexpected, "duplicated": creates.duplicated}
        counts = ", ".join(f"{len(those)} {name}" for name, those in found.items())
        made = f"{creates.attempted:,} creates attempted, {creates.acknowledged:,} tasks acknowledged"
        return [
            *totals,
            f"- {', '.join(did)}, in {self.took / 60:.1f} minutes",
            f"- calls by what they ask for, granted, refused and unknown: {_by_verb(history)}",
            f"- {made}: **{counts}**, {creates.recovered:,} recovered (their client never got an answer)",
            f"- exits that nobody asked for: {self._exits()}",
            f"- the machine itself was late: {self.lateness}",
            f"- waits of tasks that were due, {self.verdict.waits}",
        ]

    def _found(self) -> list[str]:
        if not self.violations:
            return ["No violations."]
        kinds: dict[str, list[str]] = {}
        for text in self.violations:
            kind = re.sub(r"\d+", "N", text.partition(":")[0])
            kinds.setdefault(kind, []).append(f"- {' '.join(text.split())[:_LONGEST_TOLD]}")
        told = [f"{_found(self.violations)}:", ""]
        for kind, texts in kinds.items():
            told += texts[:_MOST_TOLD]
            if len(texts) > _MOST_TOLD:
                told.append(f"- {kind}: {len(texts) - _MOST_TOLD} more like these")
        return told

    def write(self, page: Path) -> None:
        """Put it between the marks of a page."""
        text = page.read_text()
        head, _, rest = text.partition(BEGIN)
        _, end, tail = rest.partition(END)
        if not end:
            raise ValueError(f"{page} has no {BEGIN} ... {END}")
        page.write_text(f"{head}{BEGIN}\n{self.markdown()}{END}{tail}")


def _line(result: Result) -> str:
    fault, finding = result.fault, result.finding
    if finding.skipped:
        return f"| {fault.title} | not done: {finding.skipped} | {fault.passes} | - |"
    return f"| {fault.title} | {finding.injected:,} | {fault.passes} | {_found(result.violations)} |"


def _measured(result: Result) -> str:
    facts = "; ".join(f"{name}: {value}" for name, value in result.finding.facts.items())
    return f"- **{result.fault.title}**: {facts or '-'}".replace("\n", " ")


def _by_verb(history: History) -> str:
    counts: dict[str, Counter[Outcome]] = {}
    for call in history.calls:
        counts.setdefault(call.verb, Counter())[call.outcome] += 1
    return "; ".join(
        f"{verb} {', '.join(f'{count[outcome]:,}' for outcome in Outcome)}" for verb, count in sorted(counts.items())
    )


def _found(violations: Sequence[object]) -> str:
    if not violations:
        return "passed"
    return "**1 violation**" if len(violations) == 1 else f"**{len(violations)} violations**"
