"""How long something that is due may take, by what was injected meanwhile.

The bounds follow from how the suite sets its consumers. What is due is found at once or by the next poll or sweep;
where consumers are broken, once their leases are over and a sweep has seen it. The rest is for a machine that is busy.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from tests.chaos.history import Injected
from tests.chaos.scene import LEASE_SECONDS, SWEEP_SECONDS

CALM_SECONDS = SWEEP_SECONDS + 2.5  # where no fault touches the time
TOUCHED_SECONDS = LEASE_SECONDS + SWEEP_SECONDS + 10.0  # where one does; and after an outage, which comes on top
AFTERMATH_SECONDS = 10.0  # of a fault, in which it still touches what is due
OUTAGES = frozenset({"postgres-crash", "disk-full", "no-connections"})  # the others leave somebody who can claim


class Patience:
    """What these faults have touched."""

    def __init__(self, injected: Sequence[Injected]) -> None:
        self._touched = _Times((each.begun, each.ended + AFTERMATH_SECONDS) for each in injected)
        self._outages = _Times((each.begun, each.ended) for each in injected if each.fault in OUTAGES)

    def is_touched(self, begun: float, ended: float) -> bool:
        """Whether a fault or its aftermath falls into this time."""
        return self._touched.within(begun, ended) > 0

    def excused(self, begun: float, ended: float) -> float:
        """Seconds of this time in which there was nobody who could have done anything."""
        return self._outages.within(begun, ended)

    def seconds(self, begun: float, ended: float) -> float:
        """How long what was due at `begun`, and was done at `ended`, may have taken."""
        return (TOUCHED_SECONDS if self.is_touched(begun, ended) else CALM_SECONDS) + self.excused(begun, ended)


class _Times:
    """Times of which some may overlap, and how much of them lies between two."""

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

    def within(self, begun: float, ended: float) -> float:
        """Seconds."""
        return self._until(ended) - self._until(begun)

    def _until(self, at: float) -> float:
        place = bisect_right(self._begins, at)
        if not place:
            return 0.0
        begun, ended = self._times[place - 1]
        return self._sums[place - 1] + min(at, ended) - begun
