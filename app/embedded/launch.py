"""The start as one pipeline: lock, clean up, prepare, start the servers, migrate, start the programs, wait, stop."""

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from app.core.config import Settings
from app.embedded import address, leftovers, postgres, supervisor, valkey
from app.embedded.account import server_account
from app.embedded.banner import banner
from app.embedded.console import relay, say
from app.embedded.folders import Folders
from app.embedded.server import Server
from app.embedded.startup import Startup

# Supervisor gives the API 15 s, Valkey 15 s and PostgreSQL 60 s (config/), and the consumers what the settings say.
_OTHER_STOP_SECONDS = 95


@dataclass(frozen=True)
class Embedded:
    """Which servers are ours to start."""

    postgres: bool
    valkey: bool


class StopFlag:
    """Set by a signal, read by whoever waits."""

    def __init__(self) -> None:
        self.set = False

    def catch(self) -> None:
        """From now on the signals that end a program only set the flag."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.set = True


def launch(settings: Settings, folders: Folders, embedded: Embedded) -> None:
    """Run everything until a signal comes, then stop it in order.

    Raises StartError when it does not come up or ends by itself, StoppedError when a signal came before it was up.
    """
    stop = StopFlag()
    with folders.lock():
        stop.catch()
        _stop_leftovers(settings, folders)
        if settings.api_processes:
            address.require_free(settings)
        servers = _prepare(settings, folders, embedded)
        with _supervisor(settings, folders, servers) as process:
            startup = Startup(settings, folders, process, lambda: stop.set)
            startup.await_servers(servers)
            startup.migrate(_environment(settings, folders, servers))
            startup.start_programs()
            say(banner(settings, folders, embedded=embedded.postgres))
            startup.await_stop()
            say(f"stopping: running tasks get up to {settings.drain_seconds:g} s")


def _stop_leftovers(settings: Settings, folders: Folders) -> None:
    if leftovers.stop(folders.mark, settings.stop_wait_seconds):
        say("stopped what an earlier, killed start had left running")
    leftovers.remove_stale_pid_file(folders.postgres)


def _prepare(settings: Settings, folders: Folders, embedded: Embedded) -> dict[str, Server]:
    servers: dict[str, Server] = {}
    folders.make_run()
    supervisor.make_metrics_folder(folders.run)
    if not (embedded.postgres or embedded.valkey):
        return servers
    account = server_account(folders.data, folders.run)
    if embedded.postgres:
        if not folders.postgres.exists():
            say(f"making a new database in {folders.postgres}")
        # Beside what the programs open: for people with psql, and for a migration.
        servers["postgres"] = postgres.prepare(
            folders.postgres,
            folders.sockets("postgres"),
            account,
            max_connections=max(100, settings.connections + 20),
        )
    if embedded.valkey:
        servers["valkey"] = valkey.prepare(folders.valkey, folders.sockets("valkey"), account)
    return servers


def _environment(settings: Settings, folders: Folders, servers: dict[str, Server]) -> dict[str, str]:
    """What config/supervisord.embedded.conf asks for. A server that is not ours has zero processes."""
    variables = {"SERVER_USER": str(os.geteuid()), "LOG_DIR": str(folders.log), leftovers.MARK: folders.mark}
    for name in ("postgres", "valkey"):
        server = servers.get(name)
        variables[f"{name.upper()}_PROCESSES"] = "1" if server else "0"
        variables[f"{name.upper()}_COMMAND"] = shlex.join(server.command) if server else "none"
        if server:
            variables["SERVER_USER"] = server.account.supervised_as
    return supervisor.environment(settings, folders.run) | variables


@contextlib.contextmanager
def _supervisor(
    settings: Settings, folders: Folders, servers: dict[str, Server]
) -> "Iterator[subprocess.Popen[bytes]]":
    """Supervisor as a child, out of reach of Ctrl-C, which is for us; on the way out it has stopped everything."""
    process = subprocess.Popen(  # noqa: S603 - our own command line
        [str(supervisor.CONFIG / "run" / "child"), "TERM", *supervisor.command("supervisord.embedded.conf")],
        env=_environment(settings, folders, servers),
        stdin=subprocess.DEVNULL,
        # Not our own standard output: programs open it again, which they may not if the terminal belongs to another
        # user, as after `su`.
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    output = threading.Thread(target=relay, args=(process.stdout.fileno(),), daemon=True)
    output.start()
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(settings.stop_wait_seconds + _OTHER_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        # None, unless Supervisor was killed.
        leftovers.stop(folders.mark, settings.stop_wait_seconds)
        output.join(timeout=2)
        folders.remove_run()
