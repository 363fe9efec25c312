"""Writes the figures of a run into docs/performance.md: tables between their markers, and plots beside it."""

import re
from pathlib import Path

from bench import results as store
from bench.plots import PLOTS
from bench.results import Results
from bench.tables import TABLES
from bench.tables.run import target_table


def write_report(results: Results, folder: Path) -> None:
    """Write performance.md and performance/*.svg in this folder, and print the targets.

    Of a page that is there, only what stands between `<!-- bench: NAME -->` and `<!-- end -->` is replaced. Raises
    ValueError where a table has no place on it.
    """
    beside = folder / "performance"
    beside.mkdir(parents=True, exist_ok=True)
    page = folder / "performance.md"
    page.write_text(fill(page.read_text() if page.exists() else _blank(), results))
    for name, plot in PLOTS.items():
        (beside / f"{name}.svg").write_text(plot(results))
    store.write(results, beside / "results.json")
    print(f"\n{target_table(results)}\n\nAll tables: {page}")


def fill(page: str, results: Results) -> str:
    """The page with these tables."""
    for name, write in TABLES.items():
        marker = re.compile(rf"(<!-- bench: {name} -->\n).*?(\n?<!-- end -->)", re.DOTALL)
        text = write(results)
        page, count = marker.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n<!-- end -->", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the page has {count} places for the table {name!r}")
    return page


def _blank() -> str:
    places = [f"## {name.capitalize()}\n\n<!-- bench: {name} -->\n<!-- end -->\n" for name in TABLES]
    plots = [f"![{name}](performance/{name}.svg)\n" for name in PLOTS]
    return "\n".join(["# Performance\n", *places, *plots])
