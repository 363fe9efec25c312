"""One run of `make bench`: its doses, and what it has found so far."""

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from bench.contender import Figure
from bench.subject import Subject, SubjectT, running
from tests.support.servers import Servers

T = TypeVar("T")


@dataclass(frozen=True)
class Dose:
    """How much is measured. A run of wrk takes whole `seconds`."""

    name: str
    rounds: int
    seconds: int
    connections: tuple[int, ...]
    batch_seconds: float
    latency_seconds: float
    cancels: int
    sleepers: int
    idle_seconds: float
    ended: int
    delayed: int
    turns: int  # short rounds of two databases
    tasks: int  # that one Taskmill consumer drains
    peer_seconds: float  # after which no more is measured among peers


FULL = Dose("full", 3, 3, (1, 16, 64, 256), 1.5, 10, 300, 10_000, 30, 5_000_000, 1_000_000, 14, 50_000, 900)
QUICK = Dose("quick", 2, 1, (1, 64), 0.5, 3, 50, 2_000, 5, 500_000, 100_000, 4, 20_000, 120)


@dataclass
class Run:
    """Servers, doses, and what one part has found; what fails is noted, and the rest goes on."""

    servers: Servers
    dose: Dose
    figures: list[Figure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, subject: str, measure: str, unit: str, value: float, number: int = 0) -> None:
        """Note one number."""
        self.figures.append(Figure(subject, measure, unit, value, number))

    def add_percentiles(self, subject: str, measure: str, values: Sequence[float], number: int = 0) -> None:
        """Note p50 and p99 of these milliseconds."""
        for share in (50, 99):
            self.add(subject, f"{measure}_p{share}", "ms", percentile(values, share), number)

    def fail(self, what: str, error: Exception) -> None:
        """Note what has failed, and why."""
        self.failures.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")
        print(f"  FAILED {self.failures[-1]}", flush=True)

    async def open(self, stack: AsyncExitStack, *kinds: type[SubjectT], **settings: object) -> list[SubjectT]:
        """Start one of each, leaving out what does not start."""
        opened = []
        for number, kind in enumerate(kinds, start=1):
            try:
                subject = await stack.enter_async_context(running(kind, self.servers, number, **settings))
            except Exception as error:  # noqa: BLE001 - a finding, not the end of the run
                self.fail(kind.name, error)
            else:
                opened.append(subject)
        return opened

    async def take_turns(
        self, contenders: Sequence[T], rounds: int, once: Callable[[T, int], Awaitable[None]], name: Callable[[T], str]
    ) -> None:
        """A B, B A, A B: measure each once a round. Whoever fails is left out from then on."""
        left = list(contenders)
        for number in range(rounds):
            for contender in left[:: -1 if number % 2 else 1]:
                try:
                    await once(contender, number)
                except Exception as error:  # noqa: BLE001 - a finding, not the end of the run
                    self.fail(name(contender), error)
                    left.remove(contender)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` percent do not exceed. Raises ValueError where there are none."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[math.ceil(share / 100 * len(values)) - 1]


def name_of(subject: Subject) -> str:
    """For take_turns."""
    return subject.name
