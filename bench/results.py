"""What runs have found, as JSON: parts that were measured anew replace those of before."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.contender import Figure


@dataclass
class Part:
    """One part of a run: what it found, what failed, when it ended (UTC) and how long it took.

    `commit`: of the source. `loop_ms`: how fast the machine was when it began, as machine.loop_ms(); `stolen`: percent
    of all cores' time that its host gave to others meanwhile. These are not known of parts of before 2026-11-29.
    """

    figures: list[Figure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    when: str = ""
    seconds: float = 0.0
    commit: str = ""
    loop_ms: float = 0.0
    stolen: float = 0.0


@dataclass
class Results:
    """All parts, of one machine."""

    dose: str
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    def values(self, part: str, subject: str, measure: str) -> list[float]:
        """Of each round, in order; none where it was not measured."""
        if part not in self.parts:
            return []
        found = [one for one in self.parts[part].figures if (one.subject, one.measure) == (subject, measure)]
        return [one.value for one in sorted(found, key=lambda one: one.round)]

    def median(self, part: str, subject: str, measure: str) -> float | None:
        """Over the rounds."""
        values = self.values(part, subject, measure)
        return median(values) if values else None

    def ratios(self, part: str, measure: str, subject: str, other: str) -> list[float]:
        """Pair by pair: of the rounds in which both were measured."""
        pairs: dict[int, dict[str, float]] = {}
        for one in self.parts[part].figures if part in self.parts else ():
            if one.measure == measure:
                pairs.setdefault(one.round, {})[one.subject] = one.value
        return [pair[subject] / pair[other] for pair in pairs.values() if subject in pair and pair.get(other)]

    def subjects(self, part: str, measure: str) -> list[str]:
        """Who has been measured so."""
        figures = self.parts[part].figures if part in self.parts else []
        return list(dict.fromkeys(one.subject for one in figures if one.measure == measure))


def read(file: Path) -> Results:
    """Raises OSError where there is none."""
    return _results(json.loads(file.read_text()))


def write(results: Results, file: Path) -> None:
    """One figure a line, so that a run differs from another in lines that can be read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    plain = asdict(results)
    rows: list[str] = []
    for part in plain["parts"].values():
        for number, one in enumerate(part["figures"]):
            rows.append(json.dumps([*list(one.values())[:3], float(f"{one['value']:.6g}"), one["round"]]))
            part["figures"][number] = f"\0{len(rows) - 1}\0"
    text = json.dumps(plain, indent=1, ensure_ascii=False)
    text = re.sub(r'"\\u0000(\d+)\\u0000"', lambda found: rows[int(found[1])], text)
    draft = file.with_suffix(".new")
    draft.write_text(text + "\n")
    draft.replace(file)


def _results(plain: dict[str, Any]) -> Results:
    parts = {
        name: Part(**part | {"figures": [Figure(*row) for row in part["figures"]]})
        for name, part in plain["parts"].items()
    }
    return Results(plain["dose"], plain["machine"], plain["versions"], parts)
