"""Those who were lost twice: they run one by one, each in a process alone, so that each waits for those before him."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import pairwise
from operator import itemgetter

from app.queue.claim import SUSPECT_AT
from tests.chaos.history import Transition

# For a process of their own to be started, which may wait for a lease or two to lapse.
FIRST_SECONDS = 30.0
EACH_SECONDS = 3.0  # for each who comes before: the longest runs here, or a loss and the start of another process


class Suspects:
    """When each of them was claimed."""

    def __init__(self, changes: Iterable[Transition]) -> None:
        claims = (change for change in changes if change.new == "processing" and change.lost_count >= SUSPECT_AT)
        self._claims = sorted((change.at, change.run_at) for change in claims)  # when, and since when it was due

    def seconds(self, due: float, change: Transition) -> float:
        """How long one may have waited from `due` to this change: those come before him who were due no later.

        As many as one statement has recovered are due at once.
        """
        return FIRST_SECONDS + EACH_SECONDS * sum(run_at <= change.run_at for _, run_at in self._within(due, change.at))

    def pause(self, begun: float, ended: float) -> float:
        """The longest time in between, in seconds, in which none of them was claimed."""
        times = (at for at, _ in self._within(begun, ended))
        return max(after - before for before, after in pairwise([begun, *times, ended]))

    def _within(self, begun: float, ended: float) -> list[tuple[float, float]]:
        first = bisect_right(self._claims, begun, key=itemgetter(0))
        return self._claims[first : bisect_left(self._claims, ended, key=itemgetter(0))]
