"""Rows of two beside one another."""

from bench.results import Results
from bench.taskmill import US
from bench.words import spread


def beside(results: Results, words: str, part: str, measure: str, other: str) -> list[str]:
    """Ours, the other's, and the ratio pair by pair."""
    ours, theirs = (spread(results.values(part, name, measure)) for name in (US, other))
    return [words, ours, theirs, spread(results.ratios(part, measure, US, other))]
