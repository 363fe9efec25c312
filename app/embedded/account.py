"""The operating system's user that the embedded servers run as."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.embedded.errors import StartError

UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Account:
    """A user by name, and the ids to become it."""

    name: str
    uid: int
    gid: int

    def run(self, command: list[str], *, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command as this user, in an environment in which no variable changes what PostgreSQL does."""
        return subprocess.run(  # noqa: S603 - our own command lines
            command,
            user=self.uid if self.differs else None,
            group=self.gid if self.differs else None,
            extra_groups=[] if self.differs else None,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            process_group=0,  # Ctrl-C is for us: a half-made database helps nobody
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )

    @property
    def differs(self) -> bool:
        """Whether it is not the user we are."""
        return self.uid != os.geteuid()

    def own(self, folder: Path) -> None:
        """Make a private folder of this user's; an existing one, with all in it, becomes this user's if we are root.

        Raises StartError when it belongs to someone else.
        """
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != self.uid:
            if os.geteuid() != 0:
                raise StartError(
                    f"{folder} belongs to another user (was Taskmill started as root before?): "
                    f"run `sudo chown -R {self.uid} {folder}`, or choose another folder with DATA_DIR=..."
                )
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)
        folder.chmod(0o700)

    def require_entry(self, folder: Path, advice: str) -> None:
        """Raise StartError, which ends in the advice, when this user can't enter the folder."""
        try:
            entered = self.run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]).returncode == 0
        except PermissionError:
            entered = False
        if not entered:
            raise StartError(f"as root, the servers run as user {self.name}, who can't enter {folder}: {advice}")


def server_account() -> Account:
    """Ourselves; `nobody` when we are root, as whom PostgreSQL refuses to run.

    Raises StartError when that user does not exist.
    """
    uid = os.geteuid()
    try:
        entry = pwd.getpwnam(UNPRIVILEGED) if uid == 0 else pwd.getpwuid(uid)
    except KeyError:
        who = UNPRIVILEGED if uid == 0 else f"user id {uid}"
        raise StartError(f"{who} is not in /etc/passwd, and PostgreSQL needs a user with a name: add it") from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
