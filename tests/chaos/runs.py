"""Reads what handlers have written of their runs."""

from pathlib import Path

from tests.chaos.history import Run


def read_runs(folder: Path) -> list[Run]:
    """All starts and ends of all processes, in the order of time."""
    runs = [run for path in folder.glob("*.runs") for run in read_run_file(path)]
    runs.sort()
    return runs


def read_run_file(path: Path, offset: int = 0) -> list[Run]:
    """What one process has written, from a place in its file on. A line that is not yet whole is left out."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    return [_run(line) for line in data[: data.rfind(b"\n") + 1].decode().splitlines()]


def _run(line: str) -> Run:
    at, task, claim, attempt, phase, pid = line.split(" ")
    return Run(float(at), task, claim, int(attempt), phase, int(pid))
