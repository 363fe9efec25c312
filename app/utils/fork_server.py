"""`python -m`, forked from a process that has imported what it runs: there in milliseconds, where imports take seconds.

What is forked is a process of its own, in a session of its own, that runs the module as the interpreter would. On the
server's socket (SOCK_SEQPACKET) each message is one JSON object.

In: {"args", "is_bound"} with descriptors. `args` are a module and its arguments, to which the numbers are added that
the descriptors have there; the kernel kills one that `is_bound` when the server dies. Or {"kill"}, a pid, where its
pidfd could not be received.

Out, in the order of the requests: {"pid"} with a pidfd, or {"error"}; and for each end {"pid", "exit"}, when all of its
process group is killed. The server ends with its socket.
"""

import json
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, NoReturn

from app.utils.linux import end_with_parent

MESSAGE_BYTES = 65_536
_MOST_DESCRIPTORS = 8
# Whoever sends these to all processes of a name does not mean this one, nor those that have just been forked: they wait
# in the kernel until it is said what is to be done by them.
HELD = {signal.SIGTERM, signal.SIGINT}


def request_fork(requests: socket.socket, arguments: Sequence[str], given: Sequence[int], *, is_bound: bool) -> None:
    """Send a request. Raises OSError."""
    socket.send_fds(requests, [json.dumps({"args": arguments, "is_bound": is_bound}).encode()], given)


def request_kill(requests: socket.socket, pid: int) -> None:
    """Have one killed of which nothing else is known. Raises OSError."""
    requests.send(json.dumps({"kill": pid}).encode())


class ForkServer:
    """To be run by a process that has no event loop or connection, and no thread of ours."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, int] = {}  # pidfd → pid

    def run(self) -> None:
        """Until nobody is left at the other end."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else ends can't be waited for
        self._selector.register(self._requests, selectors.EVENT_READ)
        with suppress(ConnectionError):
            while True:
                for key, _ in self._selector.select():
                    if key.fd in self._children:
                        self._reap(key.fd)
                    elif not self._serve():
                        return

    def _serve(self) -> bool:
        data, given, flags, _ = socket.recv_fds(self._requests, MESSAGE_BYTES, _MOST_DESCRIPTORS)
        if not data:
            return False
        try:
            request = json.loads(data)
            if "kill" in request:
                self._kill(request["kill"])
            elif flags & socket.MSG_CTRUNC:
                self._tell({"error": "no descriptors left for what was given"})
            else:
                self._fork(request, given)
        except OSError as error:  # the system has no memory, processes or descriptors left
            self._tell({"error": str(error)})
        finally:
            for descriptor in given:
                os.close(descriptor)
        return True

    def _fork(self, request: dict[str, Any], given: list[int]) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(request, given, server)
        with ExitStack() as undo:  # one that nobody can be told of must not run
            undo.callback(os.waitpid, pid, 0)
            undo.callback(os.kill, pid, signal.SIGKILL)
            process = os.pidfd_open(pid)
            undo.callback(os.close, process)
            self._selector.register(process, selectors.EVENT_READ)
            undo.callback(self._selector.unregister, process)
            self._tell({"pid": pid}, process)
            undo.pop_all()
        self._children[process] = pid

    def _become(self, request: dict[str, Any], given: list[int], server: int) -> NoReturn:
        """The forked process: keep nothing of the server but what it has imported."""
        code = 1
        try:
            if request["is_bound"]:
                end_with_parent(server)
            os.setsid()
            self._selector.close()
            self._requests.close()
            for process in self._children:
                os.close(process)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
            sys.argv = [*request["args"], *map(str, given)]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as end:
            if isinstance(end.code, str):
                sys.stderr.write(f"{end.code}\n")
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - as the interpreter does with what nobody has caught
            sys.excepthook(*sys.exc_info())
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def _kill(self, pid: int) -> None:
        if pid in self._children.values():  # and so not waited for: the number is nobody else's
            with suppress(OSError):  # of one that has become another user's
                os.kill(pid, signal.SIGKILL)

    def _reap(self, process: int) -> None:
        pid = self._children.pop(process)
        self._selector.unregister(process)
        os.close(process)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # until it is waited for, the number is nobody else's
        _, status = os.waitpid(pid, 0)
        self._tell({"pid": pid, "exit": os.waitstatus_to_exitcode(status)})

    def _tell(self, message: dict[str, int | str], *descriptors: int) -> None:
        socket.send_fds(self._requests, [json.dumps(message).encode()], descriptors)
