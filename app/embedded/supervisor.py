"""Supervisor as seen from outside: how to start it, and its control socket."""

import os
import shutil
import socket
import sys
from http.client import HTTPException
from pathlib import Path
from typing import cast
from xmlrpc.client import Fault, ProtocolError, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from app.core.config import Settings
from app.core.metrics import FOLDER_VARIABLE

CONFIG = Path(__file__).resolve().parents[2] / "config"


def environment(settings: Settings, run: Path) -> dict[str, str]:
    """Ours, and what config/supervisord.conf asks for; programs find this Python first on the PATH."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # A killed process must not take its last log lines with it.
        "PYTHONUNBUFFERED": "1",
        "HOST": settings.host,
        # Its socket is opened also for no process at all: then anywhere, since somebody else may have the port.
        "PORT": str(settings.port if settings.api_processes else _any_port()),
        "API_PROCESSES": str(settings.api_processes),
        "CONSUMER_PROCESSES": str(settings.consumer_processes),
        "STOP_WAIT_SECONDS": str(settings.stop_wait_seconds),
        "RUN_DIR": str(run),
        FOLDER_VARIABLE: str(_metrics(run)),
    }


def make_metrics_folder(run: Path) -> None:
    """Make the folder in which the programs count, empty: all count from 0 when Supervisor starts."""
    shutil.rmtree(_metrics(run), ignore_errors=True)
    _metrics(run).mkdir(mode=0o700)


def _metrics(run: Path) -> Path:
    return run / "metrics"


def _any_port() -> int:
    """One that nobody has, at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def command(config: str) -> list[str]:
    """The command line of supervisord with one of the files under config/."""
    # As root it warns unless told that root is meant; told so in the file, it would refuse to run as anyone else.
    as_root = ["-u", "0"] if os.geteuid() == 0 else []
    return [sys.executable, "-m", "supervisor.supervisord", "-c", str(CONFIG / config), *as_root]


class Control:
    """The control socket in a run folder. Every call raises OSError when Supervisor does not answer."""

    def __init__(self, run: Path) -> None:
        self._address = f"unix://{run}/supervisor.sock"

    def states(self) -> dict[str, str]:
        """The state of each process by `group:name`: STARTING, RUNNING, BACKOFF, EXITED, FATAL ..."""
        found = cast("list[dict[str, str]]", self._call("getAllProcessInfo"))
        return {f"{one['group']}:{one['name']}": one["statename"] for one in found}

    def start(self, group: str) -> None:
        """Start all processes of a group, without waiting for them."""
        self._call("startProcessGroup", group, False)

    def _call(self, method: str, *arguments: str | bool) -> object:
        # A connection of its own for each call, because after a failure Supervisor's transport can't be used again.
        # It knows the socket; the address is not used, but must look like one. The credentials are in the config.
        transport = SupervisorTransport("taskmill", "taskmill", self._address)
        try:
            with ServerProxy("http://localhost", transport=transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except (Fault, ProtocolError, HTTPException) as error:
            raise OSError(f"Supervisor's {method}: {error}") from error
