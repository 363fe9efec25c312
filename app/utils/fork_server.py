"""`python -m`, forked from a process that has imported what it runs: there in milliseconds, where imports take seconds.

What is forked is a process of its own, in a session of its own, that runs the module as the interpreter would. On the
server's socket (SOCK_SEQPACKET) each message is one JSON object. In: {"args", "env", "standard", "is_bound"}, with
descriptors. `args` are a module and its arguments; of the descriptors, the first `standard` become 0, 1 and 2, and the
numbers of the rest are further arguments. `env`: its environment, null for the server's. The kernel kills one that
`is_bound` when the server dies. Out, in order: for each request {"pid"}, with a pidfd, or {"error"}; and for each end
{"pid", "exit"}, when all of its process group is killed. The server ends with its socket.
"""

import json
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from app.utils.linux import end_with_parent

MESSAGE_BYTES = 65_536
_MOST_DESCRIPTORS = 8


def request_fork(
    requests: socket.socket,
    arguments: Sequence[str],
    descriptors: Sequence[int],
    *,
    standard: int,
    is_bound: bool,
    environment: dict[str, str] | None = None,
) -> None:
    """Send a request; the answer comes by the same socket. Raises OSError."""
    request = {"args": arguments, "env": environment, "standard": standard, "is_bound": is_bound}
    socket.send_fds(requests, [json.dumps(request).encode()], descriptors)


class ForkServer:
    """To be run by a process that has no thread, event loop or connection."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, int] = {}  # pidfd → pid

    def run(self) -> None:
        """Until nobody is left at the other end."""
        self._selector.register(self._requests, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fd in self._children:
                    self._reap(key.fd)
                elif not self._serve():
                    return

    def _serve(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._requests, MESSAGE_BYTES, _MOST_DESCRIPTORS)
        if not data:
            return False
        try:
            self._fork(json.loads(data), descriptors)
        except OSError as error:  # the system has no memory, processes or descriptors left
            self._tell({"error": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, request: dict[str, Any], descriptors: list[int]) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            if request["is_bound"]:
                end_with_parent(server)
            self._become(request, descriptors)
        try:
            process = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._children[process] = pid
        self._selector.register(process, selectors.EVENT_READ)
        self._tell({"pid": pid}, process)

    def _become(self, request: dict[str, Any], descriptors: list[int]) -> NoReturn:
        """The forked process: keep nothing of the server but what it has imported."""
        code = 1
        try:
            os.setsid()
            self._selector.close()
            self._requests.close()
            for process in self._children:
                os.close(process)
            standard = request["standard"]
            for number, descriptor in enumerate(descriptors[:standard]):
                os.dup2(descriptor, number)
                os.close(descriptor)
            if request["env"] is not None:
                os.environ.clear()
                os.environ.update(request["env"])
                sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            sys.argv = [*request["args"], *map(str, descriptors[standard:])]
            _run_module(sys.argv[0])
            code = 0
        except SystemExit as end:
            if isinstance(end.code, str):
                sys.stderr.write(f"{end.code}\n")
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - as the interpreter does with what nobody has caught
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

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


def _run_module(module: str) -> None:
    for imported in (module, f"{module}.__main__"):  # where it is to run, it has not been imported
        if not hasattr(sys.modules.get(imported), "__path__"):
            sys.modules.pop(imported, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
