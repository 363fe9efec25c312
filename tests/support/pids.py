"""Processes known by their ids only, since others than the test have started them."""

from pathlib import Path

from tests.support.waiting import until


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def are_gone(*pids: int, seconds: float = 3) -> None:
    """Wait for the end of these processes."""

    async def fact() -> bool:
        return not any(map(is_alive, pids))

    fact.__doc__ = f"processes {pids} are gone"
    await until(fact, seconds)


def children_of(pid: int) -> list[int]:
    """The process ids of its children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lines(file: Path) -> list[str]:
    """The complete lines that a handler has noted in this file so far."""
    return file.read_text().split("\n")[:-1] if file.exists() else []


async def pid_in(file: Path) -> int:
    """Wait for the process id that a handler notes first."""

    async def is_there() -> bool:
        return bool(lines(file))

    await until(is_there)
    return int(lines(file)[0])
