"""How much there is of a kind of task, and how fast it comes and goes."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Of one kind, or of the kinds of a queue. Counts are exact; `created` and `ended` only ever grow.

    Tasks a minute are the mean of the last RATE_MINUTES full minutes; `ended_per_second` is of now: since the first
    task that came or went in the minute before this one, or in this one.
    """

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    created: int = 0
    ended: int = 0
    created_per_minute: float = 0
    ended_per_minute: float = 0
    ended_per_second: float = 0

    @property
    def kept(self) -> int:
        """How many tasks there are."""
        return self.pending + self.processing + self.completed + self.failed + self.canceled


RATE_MINUTES = 5


def total(loads: Iterable[Load]) -> Load:
    """The sum of loads."""
    values = [
        (
            *(load.pending, load.processing, load.completed, load.failed, load.canceled, load.created, load.ended),
            *(load.created_per_minute, load.ended_per_minute, load.ended_per_second),
        )
        for load in loads
    ]
    return Load(*map(sum, zip(*values, strict=True)))
