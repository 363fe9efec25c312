"""What all events are."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""


Emit = Callable[[Event], None]


def to_all(*takers: Emit) -> Emit:
    """What emits to each of these."""

    def emit(event: Event) -> None:
        for taker in takers:
            taker(event)

    return emit
