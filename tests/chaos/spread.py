"""The spread of measured times, in words: the same ones wherever they are told."""

from collections.abc import Collection


def quantile(seconds: Collection[float], share: float) -> float:
    """The one that this share of them does not exceed. There must be some."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(seconds: Collection[float]) -> str:
    """Median, 99 % and the longest."""
    if not seconds:
        return "none"
    return f"p50 {_told(quantile(seconds, 0.5))}, p99 {_told(quantile(seconds, 0.99))}, at most {_told(max(seconds))}"


def _told(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"
