"""The peers' virtual environments, data/bench/venvs/<name>: made with pip when first asked for.

Their versions are pinned with hashes in requirements/<name>.txt, made from <name>.in beside it by

    uv pip compile --generate-hashes --universal --no-header --no-annotate --python-version 3.11 celery.in -o celery.txt

When that file changes, the environment is made anew.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "data" / "bench" / "venvs"
REQUIREMENTS = Path(__file__).parent / "requirements"
_STAMP = "requirements.sha256"


def python(name: str) -> Path:
    """The interpreter of a peer's environment."""
    return FOLDER / name / "bin" / "python"


def make_venvs(names: Iterable[str]) -> dict[str, str]:
    """Make those that are not there, some at a time; what failed, by name, and why in a line."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    missing = [name for name in dict.fromkeys(names) if not _is_made(name)]
    if missing:
        print(f"Installing into {FOLDER} (once): {', '.join(missing)} ...", flush=True)
    with ThreadPoolExecutor(max_workers=4) as pool:
        reasons = zip(missing, pool.map(_make, missing), strict=True)
        return {name: reason for name, reason in reasons if reason}


def _is_made(name: str) -> bool:
    stamp = FOLDER / name / _STAMP
    return stamp.exists() and stamp.read_text() == _digest(name)


def _digest(name: str) -> str:
    return hashlib.sha256((REQUIREMENTS / f"{name}.txt").read_bytes()).hexdigest()


def _make(name: str) -> str:
    """Why it can't be made, or nothing."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]
    commands = [
        [sys.executable, "-m", "venv", str(folder)],
        [str(python(name)), *install, str(REQUIREMENTS / f"{name}.txt")],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            return next((line for line in said if "ERROR" in line), said[-1] if said else "no word of why")
    (folder / _STAMP).write_text(_digest(name))
    return ""
