"""The only place of this package that writes to the terminal."""

import contextlib
import os
import sys


def say(text: str) -> None:
    """One message to the user, whole, so that log lines do not run into it."""
    _write(sys.stdout.fileno(), f"{text}\n".encode())


def complain(text: str) -> None:
    """One line about what went wrong, to standard error."""
    _write(sys.stderr.fileno(), f"taskmill: {text}\n".encode())


def relay(source: int) -> None:
    """Copy a descriptor to standard output until its writers are gone; keeps reading when nobody listens any more."""
    while chunk := os.read(source, 65_536):
        _write(sys.stdout.fileno(), chunk)


def _write(target: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # a closed terminal must not keep us from stopping in order
        while data:
            data = data[os.write(target, data) :]
