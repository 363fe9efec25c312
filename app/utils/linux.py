"""What only the kernel can do for a child process."""

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # prctl(2)
_RATHER_THAN_PARENT = 500  # proc(5); of at most 1,000. Anybody may make himself a better victim


def end_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, whatever either of them does then.

    More exactly: when the thread ends that started this process. A parent that died before this call is seen by its id.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def name_process(name: str) -> None:
    """What `top`, `pstree` and `pgrep` call this process: 15 characters. `ps` shows what it was forked from."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def die_first_of_memory() -> None:
    """Where memory runs out, have the kernel kill this process and not its parent."""
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError):
        score.write_text(str(min(1_000, int(score.read_text()) + _RATHER_THAN_PARENT)))


def resident_bytes() -> int:
    """Memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
