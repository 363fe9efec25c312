"""What is made of many measured values."""

import math
import random
from collections.abc import Sequence
from statistics import median

_RESAMPLES = 2_000


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` percent do not exceed. Raises ValueError where there are none."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, math.ceil(share / 100 * len(values)) - 1)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """In which the median lies with 95 %: the percentile bootstrap, the same each time for the same values.

    Of five or fewer it is all of them, from the least to the most: of three it lies there with 75 % only.
    """
    chance = random.Random(0)  # noqa: S311 - no secret
    medians = [median(chance.choices(values, k=len(values))) for _ in range(_RESAMPLES)]
    return percentile(medians, 2.5), percentile(medians, 97.5)
