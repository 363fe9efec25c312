"""A database server that is ready to be started: by Supervisor in `make run`, by `start` in tests."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.embedded.account import Account


@dataclass(frozen=True)
class Server:
    """How to start one server, as whom, how to reach it, and how to ask whether it answers."""

    title: str
    command: tuple[str, ...]
    account: Account
    url: str
    answers: Callable[[], bool]

    def start(self, log: Path) -> "subprocess.Popen[bytes]":
        """Start it as a child of this process, in a process group of its own; the caller stops it.

        PostgreSQL stops at once and in order on SIGINT, Valkey on SIGTERM.
        """
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - our own command line
                self.command,
                **self.account.ids,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
