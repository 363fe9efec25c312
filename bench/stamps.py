"""Kinds whose handlers write down when they start and when they stop, into the file BENCH_STAMPS."""

import asyncio
import os
import time
from pathlib import Path

from app.handler_api import Handler, Options, Payload, TaskContext

FILE = "BENCH_STAMPS"


class Stamped(Payload, kind="stamped"):
    """Starts and ends. `sent` is when the client began to send it, in seconds since 1970."""

    sent: float


class Held(Payload, kind="held"):
    """Runs until it is told to stop."""


def read_stamps(file: Path) -> dict[tuple[str, str], float]:
    """What was written so far: when a task of this id has started and stopped."""
    stamps = {}
    for line in file.read_text().splitlines(keepends=True):
        if line.endswith("\n"):  # else it is being written
            event, task_id, at = line.split()
            stamps[event, task_id] = float(at)
    return stamps


def stamp(event: str, task_id: str, at: float) -> None:
    """Write one line into the file that BENCH_STAMPS names."""
    line = f"{event} {task_id} {at:.6f}\n".encode()
    descriptor = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)  # one call, so that lines do not mix
    os.close(descriptor)


async def _stamp(payload: Stamped, task: TaskContext[Options]) -> None:
    stamp("delay", str(task.id), time.time() - payload.sent)


async def _hold(_: Held, task: TaskContext[Options]) -> None:
    stamp("start", str(task.id), time.time())
    try:
        await asyncio.sleep(3_600)
    finally:
        stamp("stop", str(task.id), time.time())


HANDLERS = (Handler(Stamped, _stamp), Handler(Held, _hold))
