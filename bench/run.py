"""One run of `make bench`: its doses, and what it has found so far."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from bench.contender import Figure, Missing, Unable
from bench.numbers import percentile
from bench.peers.catalogue import PEERS
from bench.subject import Subject, SubjectT, running
from tests.support.servers import Servers

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Dose:
    """How much is measured."""

    name: str
    rounds: int
    deciding_rounds: int  # of what decides a target by ratios: the more, the narrower its interval
    seconds: float  # of a run of wrk
    connections: tuple[int, ...]
    batch_seconds: float
    latency_seconds: float
    cancels: int
    sleepers: int
    idle_seconds: float
    ended: int
    delayed: int
    turns: int  # of two databases
    history_turns: int  # of those with tasks that have ended, whose cost is too near its bound for as few
    slices: int  # of each in a turn
    slice_seconds: float  # of creates, and of reads
    tasks: int  # that one Taskmill consumer drains, and the most of a peer's worker
    peers: tuple[str, ...]
    peer_rounds: int  # of all, where there is time
    best_rounds: int  # of the fastest, which decide a target
    enqueue_rounds: int  # of those whose enqueues come nearest to our creates
    drain_seconds: float  # that a drain among peers is to take
    peer_seconds: float  # after which no second turn of a peer is begun


FULL = Dose(
    name="full",
    rounds=6,
    deciding_rounds=12,
    seconds=2,
    connections=(1, 16, 64, 256),
    batch_seconds=1.5,
    latency_seconds=10,
    cancels=600,
    sleepers=10_000,
    idle_seconds=10,
    ended=5_000_000,
    delayed=1_000_000,
    turns=28,
    history_turns=84,
    slices=6,
    slice_seconds=0.6,
    tasks=50_000,
    peers=tuple(PEERS),
    peer_rounds=2,
    best_rounds=6,
    enqueue_rounds=6,
    drain_seconds=2,
    peer_seconds=1_080,
)
QUICK = Dose(
    name="quick",
    rounds=1,
    deciding_rounds=1,
    seconds=1,
    connections=(1, 64),
    batch_seconds=0.3,
    latency_seconds=2,
    cancels=50,
    sleepers=1_000,
    idle_seconds=2,
    ended=100_000,
    delayed=50_000,
    turns=1,
    history_turns=1,
    slices=1,
    slice_seconds=0.3,
    tasks=10_000,
    peers=("pgqueuer",),
    peer_rounds=1,
    best_rounds=1,
    enqueue_rounds=1,
    drain_seconds=1,
    peer_seconds=150,
)


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

    def tell(self, one: Figure | Missing) -> None:
        """Note a figure that was measured, or that was not."""
        if isinstance(one, Figure):
            self.figures.append(one)
        else:
            self.fail(f"{one.subject}, {one.measure}", Unable(one.why))

    def add_percentiles(self, subject: str, measure: str, values: Sequence[float], number: int = 0) -> None:
        """Note p50 and p99 of these milliseconds."""
        for share in (50, 99):
            self.add(subject, f"{measure}_p{share}", "ms", percentile(values, share), number)

    def fail(self, what: str, error: Exception) -> None:
        """Note what has failed, and why."""
        kind = "" if isinstance(error, Unable) else f"{type(error).__name__}: "
        self.failures.append(f"{what}: {kind}{str(error)[:300]}")
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


def name_of(subject: Subject) -> str:
    """For take_turns."""
    return subject.name
