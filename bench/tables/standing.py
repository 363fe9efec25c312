"""What stands in the table, and two that are alike."""

from bench.results import Results
from bench.standing import OPERATIONS, STANDING, Laden
from bench.taskmill import US
from bench.words import change, spread, table


def standing_table(results: Results) -> str:
    """With and without."""
    rows = []
    for part, (prefix, words) in STANDING.items():
        count = results.median(part, US, f"{prefix}_rows")
        for operation in OPERATIONS:
            measure = f"{prefix}_{operation}"
            rates, cpu = (results.ratios(part, name, Laden.name, US) for name in (measure, f"{measure}_cpu"))
            rows.append(
                [
                    f"{f'{count:,.0f} ' if count else ''}{words}: {operation}/s",
                    *(spread(results.values(part, name, measure)) for name in (US, Laden.name)),
                    *(change(ratios) if ratios else "–" for ratios in (rates, cpu)),
                ]
            )
    return table(["", "without", "with", "change", "change of the CPU of an operation"], rows)
