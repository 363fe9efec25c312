"""`python -m`, forked from a process that has imported the service already."""

import json
import os
import signal
import socket
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from app.consumer.forks import Server
from app.utils.fork_server import MESSAGE_BYTES
from tests.support.become import request_process
from tests.support.zygote import start_zygote


def fork_server() -> Server:
    """One for a consumer in this process, with this environment and output. It ends with its socket."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its, open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
        pid = forks().fork(["tests.support.zygote"], os.environ, nothing.fileno(), 1, its.fileno()).pid
    assert ours.recv(MESSAGE_BYTES) == b"{}"
    return Server(ours, pid)


@cache
def forks() -> "Forks":
    """The ones of this process, which end with it."""
    return Forks()


class Forks:
    """Forks, and hears of their ends."""

    def __init__(self) -> None:
        """Start the zygote."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with tempfile.NamedTemporaryFile(prefix="taskmill-zygote-", suffix=".log") as log:
            self._zygote, self._socket = start_zygote(environment, Path(log.name))
        self._exits: dict[int, int] = {}

    def fork(
        self, arguments: Sequence[str], environment: Mapping[str, str], given: int, output: int, *others: int
    ) -> "Forked":
        """Run a module; `given` and `output` are its standard input, and output and error.

        The numbers that its copies of the `others` have there are further arguments.
        """
        request_process(self._socket, arguments, environment, [given, output, output, *others])
        while (pid := self._hear()) is None:
            pass
        return Forked(pid, self)

    def exit_of(self, pid: int) -> int | None:
        """As in subprocess; None while it lives."""
        try:
            while True:
                self._hear(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return self._exits.get(pid)

    def _hear(self, flags: int = 0) -> int | None:
        """The next message: that one has started, whose id is returned, or ended."""
        data = self._socket.recv(MESSAGE_BYTES, flags)
        if not data:
            raise RuntimeError(f"the zygote has died: {self._zygote.wait()}")
        message: dict[str, int] = json.loads(data)
        if "error" in message:
            raise OSError(message["error"])
        if "exit" not in message:
            return message["pid"]
        self._exits[message["pid"]] = message["exit"]
        return None


class Forked:
    """What tests need of subprocess.Popen."""

    def __init__(self, pid: int, forks: Forks) -> None:
        self.pid = pid
        self._forks = forks

    def poll(self) -> int | None:
        """Its exit code, below 0 for a signal; None while it lives."""
        return self._forks.exit_of(self.pid)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)
