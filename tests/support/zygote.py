"""`python -m tests.support.zygote FD MODULE...`: imports everything once, then forks `python -m` on request.

A process of the service costs more than a second of CPU to import what it runs on, and tests start hundreds of them.
What is forked here is a real process of its own, with its own environment and log: app/utils/fork_server.py has the
messages. When the driver is gone, in whatever way, all are killed.
"""

import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.utils.fork_server import MESSAGE_BYTES, ForkServer
from app.utils.linux import end_with_parent

ROOT = Path(__file__).parents[2]
_MODULES = (
    "app.api.loop",
    "app.consumer.__main__",
    "app.main",
    "uvloop",
    "httptools",
    "uvicorn.main",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.lifespan.on",
    "uvicorn.logging",
    "encodings.idna",
    "tests.support.become",
)


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
    server = ForkServer(requests)  # its descriptors are open before it is said to be there
    requests.send(b"{}")
    server.run()


if __name__ == "__main__":
    main()
