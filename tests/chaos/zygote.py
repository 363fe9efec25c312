"""`python -m tests.chaos.zygote FD MODULE...`: imports everything once, then forks service processes on request.

A process costs more than a second of CPU to import what it runs on, and a run of chaos starts hundreds of them. What is
forked here is a real process of its own: in a session of its own, with its own environment and log, running the very
entry of `launch.py` that one started plainly would run. The zygote has no thread, event loop or connection.

On the socket FD (SOCK_SEQPACKET) each message is one JSON object. In: {"args", "env"} with two descriptors, standard
input and output. Out, in order: {"pid"} for each request, {"pid", "exit"} for each end. End of file: all are killed.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
from typing import Any, NoReturn

from app.utils.linux import end_with_parent
from tests.chaos import launch

MESSAGE_BYTES = 65_536
_NICE = 5  # so that the driver, which measures, waits for nobody's start


class _Zygote:
    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, int] = {}  # descriptor of the process → pid

    def run(self) -> None:
        """Until the driver is gone, in whatever way."""
        self._selector.register(self._requests, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fd in self._children:
                    self._reap(key.fd)
                elif not self._fork():
                    return

    def _fork(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._requests, MESSAGE_BYTES, 2)
        if not data:
            return False
        request, parent = json.loads(data), os.getpid()
        pid = os.fork()
        if pid == 0:
            end_with_parent(parent)
            self._become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        process = os.pidfd_open(pid)
        self._children[process] = pid
        self._selector.register(process, selectors.EVENT_READ)
        self._tell({"pid": pid})
        return True

    def _become(self, request: dict[str, Any], descriptors: list[int]) -> NoReturn:
        """The forked process: keep nothing of the zygote but what it has imported."""
        code = 1
        try:
            os.setsid()
            self._selector.close()
            self._requests.close()
            for process in self._children:
                os.close(process)
            standard_input, output = descriptors
            os.dup2(standard_input, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            for descriptor in descriptors:
                os.close(descriptor)
            os.environ.clear()
            os.environ.update(request["env"])
            code = launch.run(request["args"])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
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
        _, status = os.waitpid(pid, 0)
        self._tell({"pid": pid, "exit": os.waitstatus_to_exitcode(status)})

    def _tell(self, message: dict[str, int]) -> None:
        self._requests.send(json.dumps(message).encode())


def main() -> None:
    """Import, say so by an empty object, and serve."""
    end_with_parent(os.getppid())
    os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the driver's
    requests = socket.socket(fileno=int(sys.argv[1]))
    for module in (*launch.MODULES, *sys.argv[2:]):
        importlib.import_module(module)
    assert threading.active_count() == 1, "a fork would lose the other threads"
    gc.collect()
    gc.freeze()  # else a collection in each process copies every page
    requests.send(b"{}")
    _Zygote(requests).run()


if __name__ == "__main__":
    main()
