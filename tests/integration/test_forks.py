"""The fork server, and what a consumer asks of it."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.consumer.forks import Forked, Forks, ForkServerDiedError
from tests.support.forking import fork_server
from tests.support.pids import are_gone, children_of, is_alive, lines, pid_in
from tests.support.waiting import until

_MODULE = "tests.support.forked"


@contextmanager
def _descriptors(pid: int, most: int) -> Iterator[None]:
    """Let that process have no more of them."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


async def test_what_is_forked_runs_as_a_process_of_its_own(forks: Forks, tmp_path: Path) -> None:
    """With its arguments, the descriptors it was given, and a session and process group of its own."""
    reading, writing = os.pipe()
    forked = await forks.fork(_MODULE, "sleep", str(tmp_path / "notes"), given=[writing], is_bound=True)
    os.close(writing)
    assert await pid_in(tmp_path / "notes") == forked.pid
    assert os.getsid(forked.pid) == os.getpgid(forked.pid) == forked.pid
    assert await asyncio.to_thread(os.read, reading, 100) == b"here\n"
    assert forked.returncode is None
    forked.terminate()
    assert await forked.wait() == forked.returncode == 5
    forked.terminate()  # of no effect, whoever has the number now
    os.close(reading)


async def test_what_it_has_started_ends_with_it(forks: Forks, tmp_path: Path) -> None:
    """All of its process group, also where it ends by itself."""
    forked = await forks.fork(_MODULE, "sleep", str(tmp_path / "notes"), "start another", is_bound=True)

    async def are_two() -> bool:
        return len(lines(tmp_path / "notes")) == 2

    await until(are_two)
    another = int(lines(tmp_path / "notes")[1])
    assert is_alive(another)
    forked.terminate()
    await forked.wait()
    await are_gone(another)


async def test_many_at_once_are_told_apart(forks: Forks) -> None:
    """Each end is that of the one that has ended."""
    codes = range(20)
    ended = await asyncio.gather(*(forks.fork(_MODULE, "exit", str(code), is_bound=True) for code in codes))
    assert [await each.wait() for each in ended] == list(codes)


async def test_one_that_nobody_waits_for_any_more_is_killed(forks: Forks, tmp_path: Path) -> None:
    """Cancelled while the server forks it."""
    asking = asyncio.create_task(forks.fork(_MODULE, "sleep", str(tmp_path / "notes"), is_bound=False))
    await asyncio.sleep(0)  # it is asked for
    asking.cancel()
    await asyncio.wait([asking])
    another = await forks.fork(_MODULE, "sleep", str(tmp_path / "others"), is_bound=True)
    await _has_forked_only(forks, another)


async def test_a_signal_is_not_lost_while_it_starts(forks: Forks, tmp_path: Path) -> None:
    """From the first moment on: whoever stops one that has just been forked stops it."""
    for number in range(20):
        forked = await forks.fork(_MODULE, "sleep", str(tmp_path / f"{number}"), is_bound=True)
        forked.terminate()
        async with asyncio.timeout(20):
            assert await forked.wait() in {-signal.SIGTERM, 5}


@pytest.mark.parametrize("whose", ["the server's", "ours"])
async def test_without_descriptors_none_is_started(forks: Forks, tmp_path: Path, whose: str) -> None:
    """It is said, nothing is left behind, and later there are some again."""
    asking = asyncio.create_task(forks.fork(_MODULE, "sleep", str(tmp_path / "notes"), is_bound=True))
    if whose == "ours":
        await asyncio.sleep(0)  # it is asked for, and the answer can't be read before this task waits again
    with _descriptors(forks.server_pid if whose != "ours" else os.getpid(), 1), pytest.raises(OSError, match="oo many"):
        await asking
    await _has_forked_only(forks, await forks.fork(_MODULE, "sleep", str(tmp_path / "others"), is_bound=True))


async def test_the_end_of_the_server_is_told(tmp_path: Path) -> None:
    """Killed, it takes with it what is bound to it and nothing else; who waits for an answer hears of it."""
    died: list[BaseException] = []
    forks = Forks(fork_server(), died.append)
    bound = await forks.fork(_MODULE, "sleep", str(tmp_path / "bound"), is_bound=True)
    free = await forks.fork(_MODULE, "sleep", str(tmp_path / "free"), is_bound=False)
    os.kill(forks.server_pid, signal.SIGSTOP)
    asking = asyncio.create_task(forks.fork(_MODULE, "exit", "0", is_bound=True))
    await asyncio.sleep(0)
    os.kill(forks.server_pid, signal.SIGKILL)
    with pytest.raises(OSError, match="has ended"):
        await asking
    assert await bound.wait() == -signal.SIGKILL
    await are_gone(bound.pid)
    assert is_alive(free.pid)
    os.kill(free.pid, signal.SIGKILL)
    assert [type(error) for error in died] == [ForkServerDiedError]
    forks.close()  # of no effect
    with pytest.raises(OSError, match="Bad file descriptor"):
        await forks.fork(_MODULE, "exit", "0", is_bound=True)


async def test_a_server_that_does_not_answer_counts_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, or whatever it is: else everybody would wait for ever."""
    monkeypatch.setattr("app.consumer.forks._ANSWER_SECONDS", 0.1)
    died: list[BaseException] = []
    forks = Forks(fork_server(), died.append)
    os.kill(forks.server_pid, signal.SIGSTOP)
    with pytest.raises(OSError, match="does not answer"):
        await forks.fork(_MODULE, "exit", "0", is_bound=True)
    assert [type(error) for error in died] == [ForkServerDiedError]
    os.kill(forks.server_pid, signal.SIGKILL)


async def _has_forked_only(forks: Forks, forked: Forked) -> None:
    async def fact() -> bool:
        return children_of(forks.server_pid) == list(forks._living) == [forked.pid]

    fact.__doc__ = f"only {forked.pid} is left"
    await until(fact)
