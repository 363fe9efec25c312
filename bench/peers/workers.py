"""Worker processes, and what they use."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self

from bench.usage import cpu_seconds, peak_mib

_STOP_SECONDS = 2.0


class Workers:
    """Each in a process group of its own; with the context, they and what they started end."""

    def __init__(self, commands: Sequence[Sequence[str]], *, cwd: Path, env: dict[str, str], log: IO[bytes]) -> None:
        self._processes = [
            subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            for command in commands
        ]

    def have_ended(self) -> bool:
        """Whether all have, by themselves."""
        return all(process.poll() is not None for process in self._processes)

    @contextmanager
    def held(self) -> Iterator[None]:
        """They stand still. For seconds only: some would be thought dead."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def cpu(self) -> float:
        """Seconds of CPU, of all of them and their children, so far."""
        return cpu_seconds(process.pid for process in self._processes)

    def peak(self) -> float:
        """MiB: the most that each of these processes has held, added up."""
        return peak_mib(process.pid for process in self._processes)

    def __enter__(self) -> Self:
        """They run."""
        return self

    def __exit__(self, *_: object) -> None:
        """End them: in order if they can within some seconds."""
        self._signal(signal.SIGTERM)
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            with suppress(ProcessLookupError):  # a child that outlived it, or itself
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
