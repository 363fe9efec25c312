"""The processes that a consumer starts, children and quarantines: forked from what has imported the service."""

import asyncio
import errno
import gc
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from app.utils.fork_server import MESSAGE_BYTES, ForkServer, request_fork
from app.utils.linux import end_with_parent


class ForkServerDiedError(Exception):
    """It was killed, and with it all children; nothing can be started any more."""


class Server(NamedTuple):
    """The fork server: its socket, and its process id, which is that of the parent of what it forks."""

    requests: socket.socket
    pid: int


def start_fork_server() -> Server:
    """Fork one from this process, which has nothing yet but its imports. It ends with this process, or with the socket.

    It knows no handlers: their modules may start threads, which no fork has.
    """
    assert threading.active_count() == 1, "a fork would lose the other threads"
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    consumer = os.getpid()
    if pid := os.fork():
        its.close()
        return Server(ours, pid)
    try:
        ours.close()
        os.setsid()  # a terminal's Ctrl-C does not reach it
        end_with_parent(consumer)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever stops the consumer by its name means that alone
        gc.freeze()  # else a collection in each process copies every page
        ForkServer(its).run()
    finally:
        os._exit(0)


class Forked:
    """A process, as asyncio's subprocesses are. Signals reach it and nobody else, whenever it ends."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = descriptor
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        """Wait for its end; its exit code, below 0 for a signal."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL; what it has started in its process group ends with it."""
        self.send_signal(signal.SIGKILL)

    def end(self, code: int) -> None:
        """To be called when it has."""
        self.returncode = code
        os.close(self._descriptor)
        self._ended.set_result(code)


class Forks:
    """Asks the fork server for processes, and hears of their ends."""

    def __init__(self, server: Server, on_died: Callable[[BaseException], None]) -> None:
        """`on_died` is told when the server is gone."""
        self._server = server.requests
        self.server_pid = server.pid
        self._on_died = on_died
        self._living: dict[int, Forked] = {}
        self._turn = asyncio.Lock()
        self._answer: asyncio.Future[Forked]
        self._loop = asyncio.get_running_loop()
        self._server.setblocking(False)
        self._loop.add_reader(self._server, self._hear)

    async def fork(self, *arguments: str, given: Sequence[int] = (), is_bound: bool) -> Forked:
        """Run a module with these arguments and the numbers that its copies of the descriptors `given` have there.

        One that `is_bound` is killed when this process dies. Raises OSError where the system has no memory, processes
        or descriptors left.
        """
        forking = asyncio.create_task(self._fork(arguments, given, is_bound=is_bound))
        try:
            return await asyncio.shield(forking)
        except asyncio.CancelledError:
            forking.add_done_callback(_kill)  # the answer comes all the same
            raise

    def close(self) -> None:
        """End the server, and with it all that is bound to it."""
        self._loop.remove_reader(self._server)
        self._server.close()

    async def _fork(self, arguments: Sequence[str], given: Sequence[int], *, is_bound: bool) -> Forked:
        async with self._turn:
            self._answer = self._loop.create_future()
            with open(os.devnull, "rb") as nothing:  # noqa: ASYNC230, PTH123 - a device
                descriptors = [nothing.fileno(), *given]
                request_fork(self._server, arguments, descriptors, standard=1, is_bound=is_bound)
            return await self._answer

    def _hear(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._server, MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            data = b""
        if not data:
            self._die()
            return
        match json.loads(data):
            case {"pid": int(pid), "exit": int(code)}:
                if pid in self._living:
                    self._living.pop(pid).end(code)
            case {"pid": int(pid)} if not descriptors:  # this process has no room for it
                os.kill(pid, signal.SIGKILL)
                self._answer.set_exception(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            case {"pid": int(pid)}:
                self._living[pid] = forked = Forked(pid, descriptors[0])
                self._answer.set_result(forked)
            case {"error": str(error)}:
                self._answer.set_exception(OSError(error))

    def _die(self) -> None:
        self.close()
        for forked in self._living.values():
            forked.kill()  # those that are not bound
            forked.end(-signal.SIGKILL)
        self._living.clear()
        if self._turn.locked():
            self._answer.set_exception(OSError("the fork server has died"))
        self._on_died(ForkServerDiedError())


def _kill(forking: "asyncio.Task[Forked]") -> None:
    if not forking.cancelled() and forking.exception() is None:
        forking.result().kill()
