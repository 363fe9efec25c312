"""The operating system's user that the embedded servers run as."""

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.embedded.errors import StartError

UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Account:
    """A user by name, the ids to become it, and the command that makes one that user where ids alone do not do."""

    name: str
    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether it is not the user we are."""
        return self.uid != os.geteuid()

    @property
    def ids(self) -> dict[str, Any]:
        """Arguments for subprocess to run a command as this user."""
        if not self.differs or self.prefix:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    @property
    def supervised_as(self) -> str:
        """The user that Supervisor is to become before it runs a command of this account's."""
        return str(os.geteuid()) if self.prefix else self.name

    def command(self, *command: str) -> tuple[str, ...]:
        """The command line for it."""
        return (*self.prefix, *command)

    def run(self, command: list[str], *, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command as this user, in an environment in which no variable changes what PostgreSQL does."""
        return subprocess.run(  # noqa: S603 - our own command lines
            self.command(*command),
            **self.ids,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            process_group=0,  # Ctrl-C is for us: a half-made database helps nobody
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )

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

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can."""
        try:
            return self.run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]).returncode == 0
        except OSError:  # not even /bin/sh, or no setpriv
            return False


def server_account(*folders: Path) -> Account:
    """Ourselves; `nobody` when we are root, as whom PostgreSQL refuses to run.

    It can enter the `folders` and the installed wheels. Raises StartError where there is no such account.
    """
    uid = os.geteuid()
    try:
        entry = pwd.getpwnam(UNPRIVILEGED) if uid == 0 else pwd.getpwuid(uid)
    except KeyError:
        who = UNPRIVILEGED if uid == 0 else f"user id {uid}"
        raise StartError(f"{who} is not in /etc/passwd, and PostgreSQL needs a user with a name: add it") from None
    # A checkout in root's home, say: keep the one privilege that opens it (containers have it by default). The secure
    # bit makes it count for access(2) as well, by which initdb looks for its programs.
    bypass = f"setpriv --reuid={entry.pw_uid} --regid={entry.pw_gid} --clear-groups --pdeathsig=keep"
    bypass += " --securebits=+no_setuid_fixup --inh-caps=+dac_override --ambient-caps=+dac_override"
    ids = (entry.pw_name, entry.pw_uid, entry.pw_gid)
    needed = (*folders, Path(sys.prefix))
    for account in (Account(*ids), Account(*ids, prefix=tuple(bypass.split()))):
        closed = [folder for folder in needed if not account.can_enter(folder)]
        if not closed:
            return account
    raise StartError(
        f"as root, the servers run as user {UNPRIVILEGED}, who can't enter {closed[0]}: "
        "choose another folder with DATA_DIR=..., move the checkout, or start as an ordinary user"
    )
