"""`config/run/serve`: check the settings, then become Supervisor, with the numbers of processes they name."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from app.core.api_keys import load_keys
from app.core.config import Settings, load
from app.core.declared import load_declared
from app.core.errors import TaskmillError
from app.embedded import supervisor
from app.embedded.console import complain
from app.embedded.errors import StartError
from app.handlers import Catalog


def main() -> int:
    """Return only if something is wrong."""
    try:
        settings = load(Settings)
        load_declared(settings, Catalog.load(settings).check)
        load_keys(settings.keys_file)
        run = _run_folder()
        supervisor.make_metrics_folder(run)
    except TaskmillError as error:
        complain(str(error))
        return 1
    return _become_supervisor(settings, run)


def _become_supervisor(settings: Settings, run: Path) -> NoReturn:
    for output in (sys.stdout.fileno(), sys.stderr.fileno()):
        _make_reopenable(output)
    line = supervisor.command("supervisord.conf")
    # In place of this process: it is the first one of a container, and the signals are Supervisor's.
    os.execve(line[0], line, supervisor.environment(settings, run))  # noqa: S606 - no shell is the point


def _run_folder() -> Path:
    """RUN_DIR, or a folder of the user's own under the temporary one. `supervisorctl` needs the same in RUN_DIR."""
    run = Path(os.environ.get("RUN_DIR") or Path(tempfile.gettempdir()) / f"taskmill-{os.geteuid()}")
    try:
        run.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartError(f"can't make {run} ({error.strerror}): name a private, writable folder in RUN_DIR") from None
    if run.is_symlink() or run.lstat().st_uid != os.geteuid():
        raise StartError(f"{run} belongs to another user: name a private, writable folder in RUN_DIR")
    return run


def _make_reopenable(output: int) -> None:
    """Put a pipe of our own before an output that can't be opened again, as Supervisor does for each program.

    It can't when it is a socket (systemd's journal) or belongs to another user (after `su`); a container's can.
    """
    try:
        os.close(os.open(f"/dev/fd/{output}", os.O_WRONLY | os.O_APPEND))
    except OSError:
        pipe = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=output, process_group=0)
        assert pipe.stdin is not None
        os.dup2(pipe.stdin.fileno(), output)


if __name__ == "__main__":
    sys.exit(main())
