"""What only the kernel can do for a child process. Elsewhere than on Linux these do what little they can."""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
_RATHER_THAN_PARENT = 500  # proc(5); of at most 1,000. Anybody may make himself a better victim


def end_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, whatever either of them does then.

    More exactly: when the thread ends that started this process. A parent that died before this call is seen by its id.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def die_first_of_memory() -> None:
    """Where memory runs out, have the kernel kill this process and not its parent."""
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError):
        score.write_text(str(min(1_000, int(score.read_text()) + _RATHER_THAN_PARENT)))


def resident_bytes() -> int:
    """Memory that this process holds now; where the kernel does not say so, the most that it ever held."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
