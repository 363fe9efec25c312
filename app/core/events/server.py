"""PostgreSQL and Redis, as a process sees them."""

from dataclasses import dataclass

from app.core.events.event import Event


@dataclass(frozen=True, slots=True)
class ServiceDown(Event):
    """PostgreSQL or Redis does not answer. Said once an outage, by each user of it."""

    service: str
    doing: str
    error: str


@dataclass(frozen=True, slots=True)
class LimitedAlone(Event):
    """Requests were let pass, or not, as this process counts, since Redis is away or was late."""

    count: int


@dataclass(frozen=True, slots=True)
class ServiceUp(Event):
    """PostgreSQL or Redis answers again."""

    service: str
    doing: str
