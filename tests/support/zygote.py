"""`python -m tests.support.zygote FD MODULE...`: imports everything once, then forks `python -m` on request.

A process of the service costs more than a second of CPU to import what it runs on, and tests start hundreds of them.
What is forked here is a real process of its own: in a session of its own, with its own environment and log, running the
module as the interpreter would. The zygote has no thread, event loop or connection.

On the socket FD (SOCK_SEQPACKET) each message is one JSON object. In: {"args", "env"} with two descriptors, standard
input and output; `args` are a module and its arguments. Out, in order: {"pid"} for each request, {"pid", "exit"} for
each end. End of file: all are killed.
"""

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from app.utils.linux import end_with_parent

ROOT = Path(__file__).parents[2]
_MODULES = (
    "app.consumer.__main__",
    "app.main",
    "uvloop",
    "httptools",
    "uvicorn.main",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.lifespan.on",
    "uvicorn.logging",
    "encodings.idna",
)
MESSAGE_BYTES = 65_536


def start_zygote(
    environment: Mapping[str, str], log: Path, modules: Sequence[str] = ()
) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """Start one that imports these modules beside the service's, and wait until it has. The socket is for requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, log.open("wb") as output:
        zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno()), *modules],
            cwd=ROOT,
            env=environment,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    if ours.recv(MESSAGE_BYTES) != b"{}":
        raise RuntimeError(f"the zygote does not start: {log.read_text()}")
    return zygote, ours


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
            sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            module, *_ = sys.argv = request["args"]
            for imported in (module, f"{module}.__main__"):  # where it is to run, it has not been imported
                if not hasattr(sys.modules.get(imported), "__path__"):
                    sys.modules.pop(imported, None)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
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
        _, status = os.waitpid(pid, 0)
        self._tell({"pid": pid, "exit": os.waitstatus_to_exitcode(status)})

    def _tell(self, message: dict[str, int]) -> None:
        self._requests.send(json.dumps(message).encode())


def main() -> None:
    """Import, say so by an empty object, and serve."""
    end_with_parent(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the driver's
    requests = socket.socket(fileno=int(sys.argv[1]))
    for module in (*_MODULES, *sys.argv[2:]):
        importlib.import_module(module)
    assert threading.active_count() == 1, "a fork would lose the other threads"
    gc.collect()
    gc.freeze()  # else a collection in each process copies every page
    requests.send(b"{}")
    _Zygote(requests).run()


if __name__ == "__main__":
    main()
