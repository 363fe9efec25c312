"""An API process, started as the service starts it."""

import socket
import sys

from tests.support.processes import Process, Service


class Api(Service):
    """uvicorn with the options of config/run/api.py, on a socket of its own."""

    app: tuple[str, ...] = ("--factory", "app.main:create_app")

    def launch(self) -> Process:
        """Start it."""
        with socket.socket() as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
            listener.bind(("127.0.0.1", 0))
            listener.listen(512)
            fd = listener.fileno()
            command = [
                *(sys.executable, "-m", "uvicorn", *self.app, "--fd", str(fd)),
                *("--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log"),
                *("--log-config", "config/uvicorn.log.conf.yml", "--timeout-graceful-shutdown", "5"),
            ]
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            return self._start(command, pass_fds=(fd,))
