"""How long something that is due may take, by what was injected meanwhile.

The bounds follow from how the suite sets its consumers. What is due is found at once or by the next poll or sweep;
where consumers are broken, once their leases are over and a sweep has seen it. The rest is for a machine that is busy.
"""

from collections.abc import Sequence

from tests.chaos.checks.times import Times
from tests.chaos.history import Injected
from tests.chaos.scene import LEASE_SECONDS, SWEEP_SECONDS

CALM_SECONDS = SWEEP_SECONDS + 2.5  # where no fault touches the time
TOUCHED_SECONDS = LEASE_SECONDS + SWEEP_SECONDS + 10.0  # where one does; and after an outage, which comes on top
AFTERMATH_SECONDS = 10.0  # of a fault, in which it still touches what is due
OUTAGES = frozenset({"postgres-crash", "disk-full", "no-connections"})  # the others leave somebody who can claim
# These leave all tasks to whoever is there to claim them: Redis gives hints only, and who is told to stop gives back.
HARMLESS = frozenset(
    {
        *("redis-kill", "redis-flush", "redis-down", "kill-api", "terminate-api", "terminate-consumer"),
        *("cancel-races", "cancel-running", "clock"),
    }
)


class Patience:
    """What these faults have kept from being done."""

    def __init__(self, injected: Sequence[Injected]) -> None:
        harm = (each for each in injected if each.fault not in HARMLESS)
        self._touched = Times((each.begun, each.ended + AFTERMATH_SECONDS) for each in harm)
        self._outages = Times((each.begun, each.ended) for each in injected if each.fault in OUTAGES)

    def is_touched(self, begun: float, ended: float) -> bool:
        """Whether a fault or its aftermath falls into this time."""
        return self._touched.touch(begun, ended)

    def excused(self, begun: float, ended: float) -> float:
        """Seconds of this time in which there was nobody who could have done anything."""
        return self._outages.within(begun, ended)

    def seconds(self, begun: float, ended: float) -> float:
        """How long what was due at `begun`, and was done at `ended`, may have taken."""
        return (TOUCHED_SECONDS if self.is_touched(begun, ended) else CALM_SECONDS) + self.excused(begun, ended)
