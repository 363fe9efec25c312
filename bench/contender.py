"""What each contender of `make bench` can be asked: Taskmill and every peer.

The same calls for all, so that one run can take them in turns: round by round over all contenders, never all rounds of
one after another. Times are in seconds and memory in MiB unless a name says otherwise; a latency is in milliseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Figure:
    """One number, as measured once: whose, of what, in which unit, in which round (from 0)."""

    subject: str
    measure: str
    unit: str
    value: float
    round: int = 0


@dataclass(frozen=True)
class Missing:
    """What was not measured, and why."""

    subject: str
    measure: str
    why: str


Tell = Callable[[Figure | Missing], object]


@dataclass(frozen=True)
class Drained:
    """How worker processes emptied the store.

    `done` tasks ended in `seconds`: from the start of the first one until the store held none that had not ended.
    `cpu` is what the worker processes with all their children used in that time, `servers_cpu` what PostgreSQL and
    Redis did, None where they are not of this machine; `peak` is the sum of the most that each worker ever held
    resident.
    """

    done: int
    seconds: float
    cpu: float
    peak: float
    servers_cpu: float | None = None


class Contender(Protocol):
    """A task queue under test. It is called from one thread, one call at a time; what it starts, it stops.

    `reset` comes before every other call.

    Raises Unable where it has no such thing, or does not get it done; the run goes on without that figure.
    """

    @property
    def name(self) -> str:
        """As in the report."""

    def reset(self) -> None:
        """Leave an empty store: no task in it, waiting or ended, and its schema in place."""

    def enqueue(self, count: int, *, batch: bool) -> float:
        """Enqueue no-op tasks, no worker running, and say how many seconds that took from a connected client.

        One by one, each accepted before the next one is sent; or with `batch` in the fastest way there is.
        """

    def drain(self, count: int, *, workers: int) -> Drained:
        """Start so many worker processes; when all are ready, hold them, enqueue no-op tasks in batches, let them go.

        They are held by SIGSTOP: else what counts is how long the second one takes to start. They end with the call.
        """

    def latencies(self, rate: float, seconds: float) -> list[float]:
        """Milliseconds from just before the enqueue to the start of the handler, one worker process running, idle else.

        One for each task, sent one after another at `rate` a second.
        """

    def sleepers(self, count: int) -> Drained:
        """As drain, with tasks that sleep for a second, in one worker process."""


class Unable(Exception):  # noqa: N818 - an answer, not a fault of the benchmark
    """The contender can't do this."""
