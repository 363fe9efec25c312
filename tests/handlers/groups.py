"""Kinds that make groups, follow them, or fail in them."""

import asyncio
from typing import Any

from app.core.task import ErrorCode
from app.handler_api.context import Options, TaskContext
from app.handler_api.group import GroupResult
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done, Fail, Outcome, Retry
from app.handler_api.payload import Payload
from app.handler_api.spawn import Child


class Step(Payload, kind="step"):
    """Sleeps, says how far it is, and fails where it is told to."""

    seconds: float = 0
    fails: bool = False
    progress: int | None = None


async def _step(payload: Step, task: TaskContext[Options]) -> Outcome:
    if payload.progress is not None:
        task.progress(payload.progress, 10)
    await asyncio.sleep(payload.seconds)
    return Fail("it was told to") if payload.fails else Done()


class Report(Payload, kind="report"):
    """Follows a group, and gives what it is told as its result."""

    group: GroupResult
    label: str = ""


async def _report(payload: Report, _: TaskContext[Options]) -> dict[str, Any]:
    return payload.model_dump(mode="json")


class FanOut(Payload, kind="fan_out"):
    """Spawns a group of steps and ends. Its first `failures` attempts fail after that, by being tried again."""

    steps: int
    failures: int = 0
    on_failure: Any = "continue"
    seconds: float = 0


async def _fan_out(payload: FanOut, task: TaskContext[Options]) -> Outcome:
    step = {"seconds": payload.seconds}
    alone = await task.spawn("alone", [Child("step", step), Child("step", step, concurrency_key="one")])
    group_id = await task.spawn_group(
        "steps",
        [Child("step", step) for _ in range(payload.steps)],
        on_failure=payload.on_failure,
        then=Child("report", {"label": "spawned"}, priority="high"),
    )
    if task.attempt <= payload.failures:
        return Retry(0, "once more", ErrorCode.DEPENDENCY_UNAVAILABLE)
    return Done({"alone": [str(task_id) for task_id in alone], "group_id": str(group_id)})


HANDLERS = (Handler(Step, _step), Handler(Report, _report), Handler(FanOut, _fan_out))
