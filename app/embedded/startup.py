"""The waits of a start. Each ends when its fact is there, when something has died, or when a signal came."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from app.core.config import Settings
from app.embedded import address
from app.embedded.errors import StartError, StoppedError
from app.embedded.folders import Folders
from app.embedded.server import Server
from app.embedded.supervisor import Control

_LOOK_SECONDS = 0.1
# Crash recovery may take its time; the rest takes seconds.
_SERVER_SECONDS = 120.0
_PROGRAM_SECONDS = 60.0
# States of a program that has died since it was started.
_DEAD = {"BACKOFF", "EXITED", "FATAL"}


class Startup:
    """One start under one Supervisor."""

    def __init__(
        self, settings: Settings, folders: Folders, process: "subprocess.Popen[bytes]", stopped: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._folders = folders
        self._process = process
        self._stopped = stopped
        self._control = Control(folders.run)

    def await_servers(self, servers: dict[str, Server]) -> None:
        """Wait until Supervisor and our servers answer."""
        for _ in self._looks("Supervisor", _PROGRAM_SECONDS):
            with contextlib.suppress(OSError):
                self._control.states()
                break
        for name, server in servers.items():
            log = self._folders.log / f"{name}.log"
            for _ in self._looks(server.title, _SERVER_SECONDS):
                if server.answers():
                    break
                if self._died(name):
                    raise StartError(f"{server.title} does not start: {_last_line(log)} (see {log})")

    def migrate(self, environment: dict[str, str]) -> None:
        """Bring the schema up to date, before any program looks at it."""
        migration = subprocess.Popen(
            [sys.executable, "-m", "app.db.migrate"], env=environment, start_new_session=True, stdin=subprocess.DEVNULL
        )
        try:
            while migration.poll() is None:
                self._check()
                time.sleep(_LOOK_SECONDS)
        finally:
            migration.terminate()
            migration.wait()
        if migration.returncode:
            raise StartError("the migration of the database failed; its reason is above")

    def start_programs(self) -> None:
        """Start the API and the consumers, and wait until they work."""
        for group in ("consumer", "api"):
            self._control.start(group)
        if self._settings.api_processes:
            self._await_programs("the API", lambda: address.ready(self._settings))
        self._await_programs("the consumers", self._consumers_run)

    def await_stop(self) -> None:
        """Wait for a signal; raises StartError when Supervisor ends by itself."""
        with contextlib.suppress(StoppedError):
            while True:
                self._check()
                time.sleep(_LOOK_SECONDS)

    def _await_programs(self, what: str, up: Callable[[], bool]) -> None:
        for _ in self._looks(what, _PROGRAM_SECONDS):
            if up():
                return
            for group in ("api", "consumer"):
                if self._died(group):
                    raise StartError(f"the {group} does not start; its reason is above")

    def _consumers_run(self) -> bool:
        return set(self._group("consumer")) <= {"RUNNING"}

    def _died(self, group: str) -> bool:
        return not _DEAD.isdisjoint(self._group(group))

    def _group(self, group: str) -> list[str]:
        try:
            states = self._control.states()
        except OSError:  # Supervisor has died: the next check says so
            return []
        return [state for name, state in states.items() if name.startswith(f"{group}:")]

    def _looks(self, what: str, seconds: float) -> Iterator[None]:
        """One look after the other, with a pause between; raises StartError after so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._check()
            yield
            time.sleep(_LOOK_SECONDS)
        raise StartError(f"{what} did not come up within {seconds:g} s; the logs are above and in {self._folders.log}")

    def _check(self) -> None:
        if self._stopped():
            raise StoppedError
        if self._process.poll() is not None:
            raise StartError(f"Supervisor ended with status {self._process.returncode}; everything else is stopped too")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"
