"""The tasks that every peer runs: functions and coroutines, found by import path where a peer wants that."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from bench.peers.counter import begin, end, note_latency

NAP_SECONDS = float(os.environ.get("BENCH_NAP_SECONDS", "1"))


def noop(x: float) -> None:  # noqa: ARG001 - all have one argument
    """Nothing."""
    begin()
    end()


def stamp(x: float) -> None:
    """Note how long after `x` it starts."""
    note_latency(x)
    end()


def nap(x: float) -> None:  # noqa: ARG001
    """Sleep for a second."""
    begin()
    time.sleep(NAP_SECONDS)
    end()


async def anoop(x: float) -> None:
    """As noop."""
    noop(x)


async def astamp(x: float) -> None:
    """As stamp."""
    stamp(x)


async def anap(x: float) -> None:  # noqa: ARG001
    """As nap."""
    begin()
    await asyncio.sleep(NAP_SECONDS)
    end()


JOBS: dict[str, Callable[[float], None]] = {"noop": noop, "stamp": stamp, "nap": nap}
ASYNC_JOBS: dict[str, Callable[[float], Awaitable[None]]] = {"noop": anoop, "stamp": astamp, "nap": anap}
