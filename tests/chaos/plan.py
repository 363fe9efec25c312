"""The stages of a run: which faults are injected at the same time, and how often."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tests.chaos.fault import Fault
from tests.chaos.faults import apis, blocked, cancels, clock, consumers, frozen, links, poison, postgres, races, redis
from tests.chaos.faults import resources as shortages

FULL_SECONDS = 3_600.0  # of CHAOS_SECONDS, which is about what it takes: then every dose is the full one
FIXED_SECONDS = 150.0  # what a run takes besides its doses: starts, the checker's proof, settling
FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        *(*consumers.FAULTS, *apis.FAULTS, *postgres.FAULTS, *redis.FAULTS, *frozen.FAULTS, *blocked.FAULTS),
        *(*links.FAULTS, races.RACES, cancels.RUNNING, *poison.FAULTS, *shortages.FAULTS, *clock.FAULTS),
    )
}


@dataclass(frozen=True, slots=True)
class Stage:
    """Lanes of faults, by name: lanes go side by side, and the faults of one after another. Then all settles."""

    title: str
    rate: float  # tasks a second of the clients
    lanes: tuple[tuple[str, ...], ...]

    @property
    def faults(self) -> list[Fault]:
        """All of them, in the order of the lanes."""
        return [FAULTS[name] for lane in self.lanes for name in lane]


# Side by side is only what leaves the other's measures alone. While an API dies any call may be without an answer, so
# what is no reason for that is not beside it.
PLAN = (
    Stage("consumers die", 150, (("kill-consumer",),)),
    Stage("PostgreSQL fails", 80, (("postgres-crash", "disk-full", "no-connections"),)),
    Stage("Redis fails", 80, (("redis-kill", "redis-flush", "redis-down"),)),
    Stage("consumers stand still", 80, (("freeze",),)),
    Stage("loops are blocked, and consumers end", 60, (("block-loop", "terminate-consumer"),)),
    Stage("APIs end", 60, (("kill-api", "terminate-api"),)),
    Stage("links fail", 60, (("link-cut", "link-hole", "link-slow"),)),
    Stage("cancels", 30, (("cancel-races", "cancel-running"),)),
    Stage("consumers are killed by their tasks, and clocks are wrong", 100, (("poison", "clock"),)),
)


def stages(only: Collection[str] = ()) -> Iterator[Stage]:
    """The plan, or what of it has these faults."""
    for stage in PLAN:
        lanes = tuple(tuple(name for name in lane if not only or name in only) for lane in stage.lanes)
        if any(lanes):
            yield Stage(stage.title, stage.rate, tuple(filter(None, lanes)))


def dose(fault: Fault, seconds: float) -> int:
    """How often it is injected in a run of so many seconds."""
    share = max(0.0, seconds - FIXED_SECONDS) / (FULL_SECONDS - FIXED_SECONDS)
    return max(1, round(fault.dose * share))
