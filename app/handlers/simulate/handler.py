"""`simulate`: sleeps, then completes. The kind of a task that names none."""

import asyncio

from pydantic import Field

from app.handler_api.context import Options, TaskContext
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done
from app.handlers.simulate.payload import Simulate


class SimulateOptions(Options):
    """Settings of `simulate`."""

    simulate_seconds: float = Field(
        default=3, ge=0, le=86_400, allow_inf_nan=False, description="How long a `simulate` task sleeps."
    )


async def simulate(payload: Simulate, task: TaskContext[SimulateOptions]) -> Done:
    """Sleep for as long as the payload says, else as SIMULATE_SECONDS says."""
    seconds = task.options.simulate_seconds if payload.simulate_seconds is None else payload.simulate_seconds
    if seconds:
        await asyncio.sleep(seconds)
    return Done()


HANDLER = Handler(payload=Simulate, run=simulate, options=SimulateOptions)
