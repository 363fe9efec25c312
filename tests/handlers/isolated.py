"""Kinds that run in child processes and do there what would end, block or fill a consumer; and one that blocks it."""

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.handler_api.context import LostClaim, Options, Progress, TaskContext
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done, ErrorCode, Fail, Retry, Snooze
from app.handler_api.payload import Payload

Context = TaskContext[Options]

_kept: list[bytearray] = []


class Isolated(Payload, kind="isolated"):
    """What to do, and with what; `file` is for what can't be returned."""

    do: str
    value: Any = None
    file: str = os.devnull

    def note(self, text: str) -> None:
        """Add a line to the file."""
        with Path(self.file).open("a") as file:
            file.write(f"{text}\n")


class Noop(Payload, kind="noop_isolated"):
    """Nothing."""


class LoopNoop(Payload, kind="noop_loop"):
    """Nothing."""


class Blocking(Payload, kind="blocking"):
    """How long to block the event loop."""

    seconds: float


async def _pid(_: Isolated, __: Context) -> int:
    return os.getpid()


async def _echo(payload: Isolated, _: Context) -> Any:
    return payload.value


async def _print(_: Isolated, __: Context) -> str:
    print("printed by a handler")  # noqa: T201 - what is tested
    os.write(1, b"written by a handler\n")
    return "printed"


async def _log(_: Isolated, task: Context) -> None:
    task.log.warning("logged by a handler")


async def _spin(payload: Isolated, task: Context) -> None:
    payload.note(str(os.getpid()))
    try:
        while True:
            pass
    finally:
        payload.note(f"canceled: {task.is_canceled}")


async def _sleep_blocking(payload: Isolated, task: Context) -> None:
    payload.note(str(os.getpid()))
    try:
        time.sleep(60)  # noqa: ASYNC251 - what is tested
    finally:
        payload.note(f"canceled: {task.is_canceled}")


async def _wait(payload: Isolated, task: Context) -> None:
    payload.note(str(os.getpid()))
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.01)
        payload.note(f"canceled: {task.is_canceled}")


async def _wait_and_finish(payload: Isolated, _: Context) -> str:
    payload.note(str(os.getpid()))
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "finished after all"
    return "finished"


async def _nap(payload: Isolated, _: Context) -> str:
    payload.note(str(os.getpid()))
    time.sleep(payload.value)  # noqa: ASYNC251 - what is tested
    return "rested"


async def _ignore_sigterm(payload: Isolated, _: Context) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    payload.note(str(os.getpid()))
    while True:
        pass


async def _swallow(payload: Isolated, _: Context) -> None:
    payload.note(str(os.getpid()))
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            payload.note("told to stop")


async def _start_others(payload: Isolated, _: Context) -> None:
    other = subprocess.Popen(["sleep", "600"])  # noqa: ASYNC220 - what is tested
    payload.note(str(other.pid))
    other.wait()


async def _segfault(_: Isolated, __: Context) -> None:
    ctypes.string_at(0)


async def _exit(_: Isolated, __: Context) -> None:
    os._exit(3)


async def _kill(_: Isolated, __: Context) -> None:
    print("last words")  # noqa: T201 - what is tested
    os.kill(os.getpid(), signal.SIGKILL)


class _Strange(BaseException):
    """Caught by nobody."""


async def _raise_strange(_: Isolated, __: Context) -> None:
    raise _Strange


async def _cancel_itself(_: Isolated, __: Context) -> None:
    raise asyncio.CancelledError


async def _garble(_: Isolated, __: Context) -> None:
    """Write into whatever is open, the channel included."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\x00\x00\x00\x05{oops")
        except OSError:
            continue
    await asyncio.sleep(60)


async def _grow(payload: Isolated, _: Context) -> int:
    _kept.append(bytearray(payload.value * 1_048_576))
    return os.getpid()


async def _litter(payload: Isolated, _: Context) -> int:
    garbage: list[Any] = [bytearray(payload.value * 1_048_576)]
    garbage.append(garbage)
    return os.getpid()


async def _hold_gil(payload: Isolated, _: Context) -> None:
    payload.note(str(os.getpid()))
    ctypes.PyDLL(None).sleep(60)  # no other thread of this process gets to run


async def _retry(payload: Isolated, _: Context) -> Retry:
    return Retry(payload.value, "not yet", ErrorCode.DEPENDENCY_UNAVAILABLE)


async def _fail(_: Isolated, __: Context) -> Fail:
    return Fail("never \ud800")


async def _snooze(_: Isolated, __: Context) -> Snooze:
    return Snooze(datetime.now(UTC) + timedelta(hours=1))


async def _raise(_: Isolated, __: Context) -> None:
    raise ValueError("boom")


async def _answer_no_json(_: Isolated, __: Context) -> Done:
    return Done(object())


async def _checkpoint(payload: Isolated, task: Context) -> dict[str, Any]:
    """Count to ten in checkpoints, and die at the fifth of the first attempt."""
    start = task.cursor or 0
    for number in range(start, 10):
        async with task.checkpoint(progress=Progress(number + 1, 10), cursor=number + 1) as db:
            await db.execute("INSERT INTO effects VALUES ($1)", number)
        if number == 4 and task.attempt == 1:
            os._exit(9)
    task.progress(10, 10, "counted")
    return {"start": start, "attempt": task.attempt, "payload": payload.do}


async def _checkpoint_until_lost(payload: Isolated, task: Context) -> None:
    payload.note(str(os.getpid()))
    number = 0
    try:
        while True:
            number += 1
            async with task.checkpoint(cursor=number) as db:
                await db.execute("INSERT INTO effects VALUES ($1)", task.attempt)
            await asyncio.sleep(0.02)
    except LostClaim:
        payload.note("lost its claim")
        raise


_DEEDS: dict[str, Callable[[Isolated, Context], Awaitable[Any]]] = {
    "answer_no_json": _answer_no_json,
    "cancel_itself": _cancel_itself,
    "checkpoint": _checkpoint,
    "checkpoint_until_lost": _checkpoint_until_lost,
    "echo": _echo,
    "exit": _exit,
    "fail": _fail,
    "garble": _garble,
    "grow": _grow,
    "hold_gil": _hold_gil,
    "ignore_sigterm": _ignore_sigterm,
    "kill": _kill,
    "litter": _litter,
    "log": _log,
    "nap": _nap,
    "pid": _pid,
    "print": _print,
    "raise": _raise,
    "raise_strange": _raise_strange,
    "retry": _retry,
    "segfault": _segfault,
    "sleep_blocking": _sleep_blocking,
    "snooze": _snooze,
    "spin": _spin,
    "start_others": _start_others,
    "swallow": _swallow,
    "wait": _wait,
    "wait_and_finish": _wait_and_finish,
}


async def _do(payload: Isolated, task: Context) -> Any:
    return await _DEEDS[payload.do](payload, task)


async def _noop(_: Noop | LoopNoop, __: Context) -> None:
    pass


async def _block(payload: Blocking, _: Context) -> None:
    time.sleep(payload.seconds)  # noqa: ASYNC251 - what is tested


HANDLERS = (
    Handler(Isolated, _do, retry_base_seconds=0.01, isolation="process"),
    Handler(Noop, _noop, isolation="process"),
    Handler(LoopNoop, _noop),
    Handler(Blocking, _block),
)
