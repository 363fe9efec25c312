"""How long to wait before the next try."""

import random


def full_jitter(failures: int, base_seconds: float, cap_seconds: float) -> float:
    """Seconds, at random between 0 and `base_seconds` doubled at each of the failures (from 1) but the first, capped.

    Spread over the whole range, tries that failed together do not come back together:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    doublings = min(failures - 1, 64)
    return random.uniform(0, min(cap_seconds, base_seconds * 2**doublings))  # noqa: S311 - spreads load
