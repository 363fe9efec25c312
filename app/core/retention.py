"""How long ended tasks are kept: RETENTION_DAYS."""

import re
from dataclasses import dataclass
from datetime import timedelta

from app.core.task import ENDED

_NUMBER = re.compile(r"\d{1,5}(\.\d{1,6})?", re.ASCII)
_MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Retention:
    """By status; None is for ever."""

    completed: timedelta | None
    failed: timedelta | None
    canceled: timedelta | None

    @classmethod
    def parse(cls, text: str) -> "Retention":
        """`30`, or `completed=30, failed=90, canceled=30`; 0, and what is left out, is for ever. Raises ValueError."""
        if "=" not in text:
            return cls(*[_time(text.strip())] * len(ENDED))
        times: dict[str, timedelta | None] = {}
        for part in text.split(","):
            status, _, days = (each.strip() for each in part.partition("="))
            if status not in ENDED:
                raise ValueError(f"must name {', '.join(ENDED)}, as in completed=30, failed=90; nothing else ends")
            if status in times:
                raise ValueError(f"names {status} twice")
            times[status] = _time(days)
        return cls(*(times.get(status) for status in ENDED))

    @property
    def times(self) -> list[timedelta]:
        """Those that there are, the shortest first."""
        return sorted(time for time in (self.completed, self.failed, self.canceled) if time is not None)


def _time(days: str) -> timedelta | None:
    if not _NUMBER.fullmatch(days) or float(days) > _MOST_DAYS:
        raise ValueError(
            f"must be days from 0 (for ever) to {_MOST_DAYS}: one number, or as in completed=30, failed=90, canceled=30"
        )
    return timedelta(days=float(days)) if float(days) else None
