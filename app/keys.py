"""`make key`: make an API key, keep its hash in KEYS_FILE, print the key once.

The key alone goes to stdout, so that a script can take it; words go to stderr.
"""

import argparse
import fcntl
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.core.api_keys import ACTIVE, DEFAULT_FILE, LABEL_RULE, ROLES, Keys, digest, is_label, load_keys, parse_keys
from app.core.caller import Role
from app.core.errors import SettingsError

PREFIX = "tm_"  # so that people, and scanners for secrets, know one when they see it


def main() -> int:
    """Make a key. 0, or 2 after one line on stderr that says what is wrong; then nothing has changed."""
    parser = argparse.ArgumentParser(prog="python -m app.keys", description=__doc__)
    parser.add_argument("name", help="of the service or person that holds the key")
    parser.add_argument("--role", default="", help="read, write (which it is where it is left out) or admin")
    parser.add_argument("--tenant", default="", help="the label of the tasks that the key sees")
    arguments = parser.parse_args()
    file = os.environ.get("KEYS_FILE") or DEFAULT_FILE
    try:
        key, what = add_key(file, arguments.name, arguments.role, arguments.tenant)
    except SettingsError as error:
        sys.stderr.write(f"taskmill: {error}\n")
        return 2
    sys.stderr.write(
        f"taskmill: {what}. Its hash is in {file}, which a running API reads within two seconds.\n"
        "taskmill: this is the key, which is shown only now:\n"
    )
    sys.stderr.flush()
    sys.stdout.write(f"{key}\n")
    return 0


def add_key(file: str, name: str, role: str, tenant: str) -> tuple[str, str]:
    """A new key, whose hash is in the file now, and words about it.

    Without a role, or a tenant, it has that of the name's other key. Raises SettingsError; then the file is as it was.
    """
    if not is_label(name):
        raise SettingsError(f"NAME {LABEL_RULE}: make key NAME=billing")
    if role and role not in ROLES:
        raise SettingsError(f"ROLE must be one of {', '.join(ROLES)}")
    if tenant and not is_label(tenant):
        raise SettingsError(f"TENANT {LABEL_RULE}")
    path = Path(file).resolve()  # a link stays one
    try:
        with _locked(path.parent):
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            table, what = _table(load_keys(file) if path.exists() else {}, name, role, tenant)
            key = PREFIX + secrets.token_hex(32)
            made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            lines = [*table, f'sha256 = "{digest(key.encode()).hex()}"', f"created = {made}"]
            after = f"{before.rstrip()}\n\n" if before.strip() else ""
            after += "\n".join(["[[key]]", *lines, ""])
            parse_keys(after, file)
            _replace(path, after)
    except OSError as error:
        raise SettingsError(f"KEYS_FILE: can't write {file}: {error.strerror}") from None
    return key, what


def _table(keys: Keys, name: str, role: str, tenant: str) -> tuple[list[str], str]:
    """The lines of the file that say who holds the key, and the same in words."""
    others = [key for key in keys.values() if key.caller.name == name]
    if len(others) >= ACTIVE:
        raise SettingsError(f"{name} has {ACTIVE} keys already: delete the older one from the file first")
    limit = None
    if others:
        caller, limit = others[0].caller, others[0].rate_limit
        if role not in {"", caller.role.name.lower()} or tenant not in {"", caller.tenant}:
            raise SettingsError(f"{name} has a key of another role or tenant: use another name, or delete that key")
        role, tenant = caller.role.name.lower(), caller.tenant or ""
    role = role or Role.WRITE.name.lower()
    lines = [f'name = "{name}"', f'role = "{role}"']
    lines += [f'tenant = "{tenant}"'] if tenant else []
    lines += [] if limit is None else [f"rate_limit = {limit}"]
    what = f"a second key for {name}" if others else f"a key for {name}"
    return lines, f"{what}: {role}{f', tenant {tenant}' if tenant else ''}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time, or the second to write would take back what the first wrote."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Write the file so that whoever reads it finds the old text or the new, also after a crash."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        if path.exists():
            shutil.copymode(path, name)  # the user of a container may have to read it
        else:
            Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
