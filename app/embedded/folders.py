"""Where the embedded set-up keeps what it writes."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.embedded.errors import StartError

# A socket's path may have 107 characters (unix(7)); the longest name below, with Supervisor's suffix while it makes its
# socket, needs 27 of them.
_LONGEST_RUN_FOLDER = 80


@dataclass(frozen=True)
class Folders:
    """Everything is under `data`; only the sockets move to the temporary folder when that path is too long for them."""

    data: Path

    @property
    def postgres(self) -> Path:
        """Named for its version, and not `postgres`: that is where Docker Compose keeps its PostgreSQL."""
        return self.data / "postgres18"

    @property
    def valkey(self) -> Path:
        """Valkey's append-only file."""
        return self.data / "valkey"

    @property
    def log(self) -> Path:
        """The logs of the servers; those of the API and the consumers go to the terminal."""
        return self.data / "log"

    @property
    def run(self) -> Path:
        """Sockets and the pid file of Supervisor, gone after a stop."""
        inside = self.data / "run"
        if len(os.fsencode(inside)) <= _LONGEST_RUN_FOLDER:
            return inside
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"taskmill-{os.geteuid()}-{digest}"

    @property
    def mark(self) -> str:
        """Names this very folder: the path alone may name another one inside a container whose processes we see."""
        status = self.data.stat()
        return f"{status.st_dev}:{status.st_ino}:{self.data}"

    def sockets(self, server: str) -> Path:
        """The private folder of one server's socket."""
        return self.run / server

    def lock(self) -> IO[bytes]:
        """Make the folder and lock it; the lock lasts until the file is closed, however this process ends.

        Raises StartError when the folder can't be written, or another start holds it.
        """
        if "%" in str(self.data):
            raise StartError(f"DATA_DIR {self.data} has a %, which Supervisor takes for its own: choose another folder")
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            self.log.mkdir(exist_ok=True)
            (self.log / ".writable").touch()
            (self.log / ".writable").unlink()
            file = (self.data / "lock").open("ab")
        except OSError as error:
            raise StartError(
                f"can't write to the data folder {self.data} ({error.strerror}): "
                "make it writable, or choose another with DATA_DIR=... make run"
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise StartError(
                f"Taskmill already runs on {self.data}: stop it first, "
                "or start beside it with DATA_DIR=other PORT=8001 make run"
            ) from None
        return file

    def make_run(self) -> None:
        """Make the run folder, which others may pass through (the servers' user must) but not list.

        Raises StartError when someone else put something in its place: the temporary folder is open to all.
        """
        shutil.rmtree(self.run, ignore_errors=True)
        self.run.mkdir(mode=0o711, exist_ok=True)
        status = self.run.lstat()
        if self.run.is_symlink() or status.st_uid != os.geteuid():
            raise StartError(f"{self.run} belongs to another user: remove it, or choose a shorter DATA_DIR")
        self.run.chmod(0o711)

    def remove_run(self) -> None:
        """Remove the sockets after a stop."""
        shutil.rmtree(self.run, ignore_errors=True)
