"""Spans of time, of which some may overlap."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate


class Times:
    """Some, each as (begun, ended)."""

    def __init__(self, times: Iterable[tuple[float, float]]) -> None:
        merged: list[tuple[float, float]] = []
        for begun, ended in sorted(times):
            if merged and begun <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(ended, merged[-1][1])
            else:
                merged.append((begun, ended))
        self._begins = [begun for begun, _ in merged]
        self._times = merged
        self._sums = [0.0, *accumulate(ended - begun for begun, ended in merged)]

    def touch(self, begun: float, ended: float) -> bool:
        """Whether any of them falls into this time."""
        return self.within(begun, ended) > 0

    def within(self, begun: float, ended: float) -> float:
        """How many seconds of this time they fill."""
        return self._until(ended) - self._until(begun)

    def _until(self, at: float) -> float:
        place = bisect_right(self._begins, at)
        if not place:
            return 0.0
        begun, ended = self._times[place - 1]
        return self._sums[place - 1] + min(at, ended) - begun
