"""Programs that a machine has or not. Nothing stands in for them."""

import shutil

_PACKAGES = {"wrk": "wrk", "redis-benchmark": "redis-tools"}  # by program, what Debian has it in


class MissingToolError(Exception):
    """A program is not installed."""


def require_tools() -> None:
    """Raises MissingToolError where one is missing: before anything is measured, and not after half an hour."""
    missing = [program for program in _PACKAGES if shutil.which(program) is None]
    if missing:
        packages = " ".join(_PACKAGES[program] for program in missing)
        raise MissingToolError(f"{' and '.join(missing)} must be installed: apt install {packages}")
