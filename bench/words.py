"""Numbers as the report writes them."""

from collections.abc import Sequence
from statistics import median

from bench.numbers import ENOUGH, interval


def shown(value: float | None) -> str:
    """Three digits or so; a dash where nothing was measured."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """The median (least–most)."""
    if not values:
        return "–"
    if len(values) == 1:
        return shown(values[0])
    return f"{shown(median(values))} ({shown(min(values))}–{shown(max(values))})"


def around(values: Sequence[float]) -> str:
    """The median (the interval in which it lies with 95 %), by which targets are decided."""
    if len(values) < 2:
        return spread(values)
    least, most = interval(values)
    return f"{shown(median(values))} ({shown(least)}–{shown(most)}{_of(values)})"


def change(ratios: Sequence[float]) -> str:
    """The median of these, as a change of 1, and the interval in which it lies with 95 %."""
    if len(ratios) < 2:
        return _percent(median(ratios))
    least, most = interval(ratios)
    return f"{_percent(median(ratios))} ({_percent(least)} – {_percent(most)}{_of(ratios)})"


def _of(values: Sequence[float]) -> str:
    """Of how many turns, where these are so few that the interval holds the median with less than 95 %."""
    return "" if len(values) >= ENOUGH else f", {len(values)} turns"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = (0,)) -> str:
    """In Markdown; these columns are of words, the others of numbers."""
    lines = [head, ["---" if column in words else "---:" for column in range(len(head))], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
