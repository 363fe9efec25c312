"""SIGTERM, as soon as it comes: a server tells the application of it only after the last connection has closed."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_stop_signal(call: Callable[[], None]) -> Iterator[None]:
    """Have SIGTERM and SIGINT also do this, on the running loop, besides what the server has them do."""
    if threading.current_thread() is not threading.main_thread():  # Python takes signals there alone
        yield
        return
    loop = asyncio.get_running_loop()
    servers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        server = servers[signal.Signals(number)]
        if callable(server):
            server(number, frame)

    ours = [number for number, server in servers.items() if callable(server)]  # else the process just ends
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, servers[number])
