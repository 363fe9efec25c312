"""What is made of many measured values."""

import math
from collections.abc import Sequence

_DOUBT = 0.05
ENOUGH = 6  # values, for an interval that leaves no more doubt than that


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` percent do not exceed. Raises ValueError where there are none."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, math.ceil(share / 100 * len(values)) - 1)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """From one of the values to another, so that the median of what they are drawn from lies there with 95 %.

    Whatever its distribution: it is not between the k-th ones from either end where fewer than k of the values, each
    of which is as likely on one side of it as on the other, are on one. Of fewer than six values it is all of them,
    from the least to the most, which hold it with 94 % (of five), 75 % (of three) or 50 % (of two).
    """
    ordered, count = sorted(values), len(values)
    k = 1
    while k < count // 2 and 2 * sum(math.comb(count, few) for few in range(k + 1)) <= _DOUBT * 2**count:
        k += 1
    return ordered[k - 1], ordered[-k]
