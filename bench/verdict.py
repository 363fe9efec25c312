"""When a target is decided: only where all of the interval of what was measured is on one side of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.numbers import interval


@dataclass(frozen=True)
class Reached:
    """What was reached, in words; None where that decides nothing, or was not measured."""

    target: str
    reached: str
    is_met: bool | None


def decided(values: Sequence[float], meets: Callable[[float], bool]) -> bool | None:
    """Whether a bound is kept by both ends of the interval in which their median lies, or by none."""
    if not values:
        return None
    least, most = map(meets, interval(values))
    return least if least == most else None


def all_of(*verdicts: bool | None) -> bool | None:
    """Missed where one is; else not decided where one is not."""
    if False in verdicts:
        return False
    return None if None in verdicts else True
