"""The processes that a consumer starts, children and quarantines: forked from what has imported the service."""

import asyncio
import errno
import gc
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from app.utils.fork_server import HELD, MESSAGE_BYTES, ForkServer, request_fork, request_kill
from app.utils.linux import end_with_parent, name_process

_ANSWER_SECONDS = 30.0  # a fork takes 10 ms


class ForkServerDiedError(Exception):
    """It was killed or answers no more, and nothing can be started; the children have died with it."""


class Server(NamedTuple):
    """The fork server: its socket, and its process id, which is that of the parent of what it forks."""

    requests: socket.socket
    pid: int


def start_fork_server() -> Server:
    """Fork one from this process, which has nothing yet but its imports. It ends with this process, or with the socket.

    It knows no handlers: their modules may start threads, which no fork has.
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    consumer = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    if pid := os.fork():
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        its.close()
        return Server(ours, pid)
    try:
        ours.close()
        os.setsid()  # a terminal's Ctrl-C does not reach it
        end_with_parent(consumer)
        name_process("taskmill-forks")
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            os.dup2(nothing.fileno(), 0)
        gc.freeze()  # else a collection in each process copies every page
        ForkServer(its).run()
    except BaseException:  # noqa: BLE001 - said, and the end of this process ends its consumer
        sys.excepthook(*sys.exc_info())
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
        self.server_pid = server.pid
        self._server = server.requests
        self._on_died = on_died
        self._living: dict[int, Forked] = {}
        self._answers: deque[asyncio.Future[Forked]] = deque()  # to come, in their order
        self._turn = asyncio.Lock()  # who waits does so here, and not in the socket, which holds but so many requests
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self._server.setblocking(False)
        self._loop.add_reader(self._server, self._hear)

    async def fork(self, *arguments: str, given: Sequence[int] = (), is_bound: bool) -> Forked:
        """Run a module with these arguments and the numbers that its copies of the descriptors `given` have there.

        One that `is_bound` is killed when this process dies. Raises OSError where the system has no memory, processes
        or descriptors left. Cancelled, it leaves no process.
        """
        async with self._turn:
            request_fork(self._server, arguments, given, is_bound=is_bound)
            answer: asyncio.Future[Forked] = self._loop.create_future()
            self._answers.append(answer)
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await answer
            except TimeoutError:
                self._die()
                raise OSError("the fork server does not answer") from None
            except asyncio.CancelledError:
                if answer.done() and not answer.cancelled() and answer.exception() is None:
                    answer.result().kill()
                raise

    def close(self) -> None:
        """End the server, and with it all that is bound to it."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._server)
        self._server.close()
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(OSError("the fork server has ended"))
        for forked in self._living.values():  # those that are not bound see for themselves that they are alone now
            forked.end(-signal.SIGKILL)
        self._living.clear()

    def _hear(self) -> None:
        try:
            data, given, _, _ = socket.recv_fds(self._server, MESSAGE_BYTES, 1)
        except ConnectionError:
            data = b""
        if not data:
            self._die()
            return
        match json.loads(data):
            case {"pid": int(pid), "exit": int(code)}:
                if pid in self._living:
                    self._living.pop(pid).end(code)
            case {"pid": int(pid)} if not given:  # this process has no descriptor left for it
                with suppress(OSError):
                    request_kill(self._server, pid)
                self._answer(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            case {"pid": int(pid)}:
                os.set_inheritable(given[0], False)
                self._living[pid] = forked = Forked(pid, given[0])
                self._answer(forked)
            case {"error": str(error)}:
                self._answer(OSError(error))

    def _answer(self, found: Forked | OSError) -> None:
        answer = self._answers.popleft()
        if isinstance(found, OSError):
            if not answer.done():
                answer.set_exception(found)
        elif answer.done():  # who asked was cancelled
            found.kill()
        else:
            answer.set_result(found)

    def _die(self) -> None:
        self.close()
        self._on_died(ForkServerDiedError())
