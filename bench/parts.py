"""The parts of `make bench`, in the order in which they are measured."""

import asyncio
from collections.abc import Awaitable, Callable

from bench.against_peers import measure_among_peers
from bench.batches import measure_batches
from bench.creates import measure_creates
from bench.drains import measure_drains
from bench.latency import measure_cancels, measure_latency
from bench.limits.measure import measure_limits
from bench.quiet import measure_idle, measure_sleepers
from bench.run import Run
from bench.standing import measure_control, measure_delayed, measure_history

Measure = Callable[[Run], None]


async def _measure_limits(run: Run) -> None:
    """What PostgreSQL and Redis do without Taskmill."""
    await measure_limits(run.servers, max(1, run.dose.rounds // 3), run.dose.batch_seconds, run.tell)


def _waited(measure: Callable[[Run], Awaitable[None]]) -> Measure:
    async def wait(run: Run) -> None:
        await measure(run)

    return lambda run: asyncio.run(wait(run))


PARTS: dict[str, Measure] = {
    "creates": _waited(measure_creates),
    "batches": _waited(measure_batches),
    "limits": _waited(_measure_limits),
    "peers": measure_among_peers,
    "drains": _waited(measure_drains),
    "latency": _waited(measure_latency),
    "cancels": _waited(measure_cancels),
    "sleepers": _waited(measure_sleepers),
    "idle": _waited(measure_idle),
    "history": _waited(measure_history),
    "delayed": _waited(measure_delayed),
    "control": _waited(measure_control),
}
