"""A small file system in a file, so that a disk can be full of nothing but ours. Linux, as root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZE_BYTES = 8 * 2**30  # the file is sparse: it takes what is written
NEEDS = "needs root with the right to mount, loop devices, and mkfs.ext4 (package e2fsprogs)"
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
_BLOCK = 4_096


class Disk:
    """The file system at `folder`. `missing` says why that is only a folder of a larger one, which is never filled."""

    def __init__(self, folder: Path, missing: str) -> None:
        self.folder = folder
        self.missing = missing
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take all the room there is at the moment, down to the last block."""
        with self._ballast.open("ab") as ballast:
            step, size = SIZE_BYTES, os.fstat(ballast.fileno()).st_size
            while step >= _BLOCK:
                try:
                    os.posix_fallocate(ballast.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Mount it on a new folder; where that can't be done, the folder is all there is."""
    folder.mkdir()
    image = folder.with_name(f"{folder.name}.img")
    with image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    missing = _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image)) or _run(
        "mount", "-o", "loop", str(image), str(folder)
    )
    try:
        if not missing:
            folder.chmod(0o755)
        yield Disk(folder, missing and f"{NEEDS}: {missing}")
    finally:
        if not missing:
            _run("umount", "--lazy", str(folder))
        image.unlink()


def _run(*command: str) -> str:
    """Run it; what went wrong, or nothing."""
    with suppress(OSError):
        done = subprocess.run(command, env={"PATH": _PATH}, capture_output=True, text=True, check=False)
        return done.stderr.strip() if done.returncode else ""
    return f"{command[0]} is not there"
