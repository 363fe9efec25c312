"""The kinds of tasks that the suite runs (HANDLER_MODULES=tests.chaos.handlers).

Each run notes its start and how it ended, as one line in a file of its process in CHAOS_FOLDER: one write(2) to a
descriptor in append mode, which the kernel keeps whatever becomes of the process. tests/chaos/runs.py reads them. The
claim is that of the tools which the run was handed; in child processes these are the same. Results, messages and
effects carry it too, so that what is recorded under another claim gives itself away.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

from app.core.errors import LostClaimError
from app.handler_api import Done, Fail, GroupResult, Handler, Options, Payload, Progress, Retry, TaskContext

CHILDREN = "children"  # a queue of its own: a consumer that serves it starts a child, which costs a second of CPU
AGAIN_SECONDS = 0.05  # between two attempts of what fails at first
INSERT_EFFECT = "INSERT INTO effects (task, n, claim) SELECT $1, generate_series($2::integer, $3::integer), $4::uuid"
_ENDS: dict[type, str] = {Done: "done", Fail: "failed", Retry: "retry"}

_descriptors: dict[int, int] = {}  # by process: a fork does not write into its parent's file


class Marked(Payload, kind="chaos_marked"):
    """What each content has. `marker`: of the call that asked for it. `index`: its place in that; -1 for a `then`."""

    marker: str
    index: int = 0


class Noop(Marked, kind="chaos_noop"):
    """Ends at once."""


class Sleep(Marked, kind="chaos_sleep"):
    """Sleeps."""

    seconds: float


class Block(Sleep, kind="chaos_block"):
    """Blocks the event loop, as a handler should not. `first`: at its first attempt only."""

    first: bool = False


class BlockInChild(Sleep, kind="chaos_block_in_child"):
    """Blocks, where it may. `is_deaf`: to SIGTERM as well, so that only SIGKILL ends it."""

    is_deaf: bool = False


class Flaky(Marked, kind="chaos_flaky"):
    """Fails at its first attempts."""

    failures: int


class Failing(Marked, kind="chaos_failing"):
    """Fails, retried or not."""


class Steps(Marked, kind="chaos_steps"):
    """Writes the numbers from 1 to `rows` into `effects`, `step` in each checkpoint, with a pause after each."""

    rows: int
    step: int
    seconds: float


class StepsInChild(Steps, kind="chaos_steps_in_child"):
    """The same in a child process."""


class Poison(Marked, kind="chaos_poison"):
    """Kills the process in which it runs."""


class Then(Marked, kind="chaos_then"):
    """Follows a group."""

    group: GroupResult


MarkedT = TypeVar("MarkedT", bound=Marked)
OutcomeT = TypeVar("OutcomeT", bound=Done | Fail | Retry)
Run = Callable[[MarkedT, TaskContext[Options]], Awaitable[OutcomeT]]


def _recorded(run: "Run[MarkedT, OutcomeT]") -> "Run[MarkedT, OutcomeT]":
    """The same handler, which notes its start and its end."""

    @wraps(run)
    async def noting(payload: MarkedT, task: TaskContext[Options]) -> OutcomeT:
        _note(task, "start")
        try:
            outcome = await run(payload, task)
        except (asyncio.CancelledError, SystemExit):
            _note(task, "canceled")
            raise
        except LostClaimError:
            _note(task, "lost")
            raise
        except BaseException:
            _note(task, "raised")
            raise
        _note(task, _ENDS[type(outcome)])
        return outcome

    return noting


def _claim_of(task: TaskContext[Any]) -> str:
    return str(cast("Any", task.tools).claim.claim_id)


def _done(task: TaskContext[Any]) -> Done:
    """With the claim under which it was done: a row that was completed under another gives itself away."""
    return Done({"claim": _claim_of(task)})


def _note(task: TaskContext[Any], phase: str) -> None:
    pid = os.getpid()
    if pid not in _descriptors:
        path = os.path.join(os.environ["CHAOS_FOLDER"], f"{pid}.runs")  # noqa: PTH118 - on the path of each run
        _descriptors[pid] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    now = time.clock_gettime(time.CLOCK_REALTIME)  # the true time, also where a fault has shifted time.time()
    line = f"{now:.6f} {task.id} {_claim_of(task)} {task.attempt} {phase} {pid}\n"
    os.write(_descriptors[pid], line.encode())


@_recorded
async def _noop(_: Marked, task: TaskContext[Options]) -> Done:
    return _done(task)


@_recorded
async def _sleep(payload: Sleep, task: TaskContext[Options]) -> Done:
    await asyncio.sleep(payload.seconds)
    return _done(task)


@_recorded
async def _block(payload: Block, task: TaskContext[Options]) -> Done:
    if task.attempt == 1 or not payload.first:
        time.sleep(payload.seconds)  # noqa: ASYNC251 - that is what it is for
    return _done(task)


@_recorded
async def _block_in_child(payload: BlockInChild, task: TaskContext[Options]) -> Done:
    if payload.is_deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(payload.seconds)  # noqa: ASYNC251 - the same
    return _done(task)


@_recorded
async def _flaky(payload: Flaky, task: TaskContext[Options]) -> Done | Retry:
    if task.attempt > payload.failures:
        return _done(task)
    return Retry(AGAIN_SECONDS, f"Not yet, under claim {_claim_of(task)}.")


@_recorded
async def _failing(_: Failing, task: TaskContext[Options]) -> Fail:
    return Fail(f"As always, under claim {_claim_of(task)}.")


@_recorded
async def _steps(payload: Steps, task: TaskContext[Options]) -> Done:
    for done in range(task.cursor or 0, payload.rows, payload.step):
        until = min(done + payload.step, payload.rows)
        async with task.checkpoint(progress=Progress(until, payload.rows), cursor=until) as db:
            await db.execute(INSERT_EFFECT, task.id, done + 1, until, _claim_of(task))
        await asyncio.sleep(payload.seconds)
    return _done(task)


@_recorded
async def _poison(_: Poison, task: TaskContext[Options]) -> Done:
    os.kill(os.getpid(), signal.SIGKILL)
    return _done(task)


# Attempts that fail because PostgreSQL is away count, so there are enough of them.
HANDLERS = (
    Handler(Noop, _noop),
    Handler(Sleep, _sleep),
    Handler(Block, _block),
    Handler(BlockInChild, _block_in_child, isolation="process", queue=CHILDREN),
    Handler(Flaky, _flaky, max_attempts=20, retry_base_seconds=AGAIN_SECONDS, retry_cap_seconds=1),
    Handler(Failing, _failing),
    Handler(Steps, _steps, max_attempts=1_000, retry_base_seconds=0.1, retry_cap_seconds=1),
    Handler(
        StepsInChild,
        _steps,
        isolation="process",
        queue=CHILDREN,
        max_attempts=1_000,
        retry_base_seconds=0.1,
        retry_cap_seconds=1,
    ),
    Handler(Poison, _poison),
    Handler(Then, _noop),
)
