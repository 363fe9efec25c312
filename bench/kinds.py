"""Kinds that do nothing but what is measured."""

from app.handler_api import Handler, Options, Payload, Progress, TaskContext


class Plain(Payload, kind="plain"):
    """Nothing."""


class WithProgress(Payload, kind="with_progress"):
    """Nothing."""


class WithCheckpoint(Payload, kind="with_checkpoint"):
    """Nothing."""


class WithRow(Payload, kind="with_row"):
    """Nothing."""


class Isolated(Payload, kind="isolated"):
    """Nothing."""


async def _do_nothing(_: Payload, __: TaskContext[Options]) -> None:
    pass


async def _say_progress(_: Payload, task: TaskContext[Options]) -> None:
    for done in range(1, 11):
        task.progress(done, 10)


async def _checkpoint(_: Payload, task: TaskContext[Options]) -> None:
    async with task.checkpoint(progress=Progress(1, 1), cursor=1):
        pass


async def _checkpoint_a_row(_: Payload, task: TaskContext[Options]) -> None:
    async with task.checkpoint(progress=Progress(1, 1), cursor=1) as db:
        await db.execute("INSERT INTO bench_rows VALUES (1)")


HANDLERS = (
    Handler(Plain, _do_nothing),
    Handler(WithProgress, _say_progress),
    Handler(WithCheckpoint, _checkpoint),
    Handler(WithRow, _checkpoint_a_row),
    Handler(Isolated, _do_nothing, isolation="process"),
)
