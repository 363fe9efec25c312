"""What was to be reached; when and where it was measured."""

from bench.results import Results
from bench.targets import targets
from bench.words import spread, table

_MET = {True: "yes", False: "**missed**", None: "not decided"}


def target_table(results: Results) -> str:
    """What was to be reached."""
    rows = [[one.target, one.reached, _MET[one.is_met]] for one in targets(results)]
    return table(["target", "reached", "met"], rows, words=(0, 1))


def run_table(results: Results) -> str:
    """When and where."""
    minutes = sum(part.seconds for part in results.parts.values()) / 60
    days: dict[str, list[str]] = {}
    for name, part in results.parts.items():
        days.setdefault(f"{part.when[:10]}{part.commit and f' at {part.commit}'}", []).append(name)
    day = ", ".join(days)
    if len(days) > 1:
        day = "; ".join(f"{day}: {', '.join(names)}" for day, names in days.items())
    where = f"on {results.machine}; the load generator (wrk) and the servers on the same machine"
    lines = [f"{results.dose.capitalize()} run, {day}, {minutes:.0f} minutes, {where}. Medians (least–most)."]
    if results.versions:
        lines.append("\n" + "; ".join(f"{name} {version}" for name, version in results.versions.items()) + ".")
    if known := [part for part in results.parts.values() if part.loop_ms]:
        loop, stolen = ([getattr(part, name) for part in known] for name in ("loop_ms", "stolen"))
        lines.append(f"\nHow fast the machine was: one core adds up a million numbers in Python in {spread(loop)} ms;")
        lines.append(f"its host gave {spread(stolen)} % of its cores' time to others.")
    # In each round the same may fail.
    failures = dict.fromkeys(f"- {name}: {line}" for name, part in results.parts.items() for line in part.failures)
    return "\n".join([*lines, *(["\nFailed:\n", *failures] if failures else [])])
