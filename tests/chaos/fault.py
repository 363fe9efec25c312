"""What a fault is: something that is injected a number of times into a scene under load, and what came of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.scene import Scene


@dataclass(slots=True)
class Finding:
    """What one fault did: how often it was injected, what was measured, and what should not have been."""

    injected: int = 0
    facts: dict[str, str] = field(default_factory=dict)  # measured, in words: {"recovered, at most": "2.9 s"}
    violations: list[str] = field(default_factory=list)  # empty: passed
    skipped: str = ""  # why it could not be injected here, and what to install; then nothing else counts


@dataclass(frozen=True, slots=True)
class Fault:
    """A line of the plan. `inject` does it `dose` times, by `random` alone, and leaves the scene whole."""

    name: str  # as in --only
    title: str  # as in the table
    dose: int  # of the full run
    passes: str  # when it passes, in words
    inject: "Callable[[Scene, int, Random], Awaitable[Finding]]"
