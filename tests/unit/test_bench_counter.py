"""What the workers of peers count is what their parent reads."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from bench.peers.counter import FILE, Counter, _Mine, begin, end, note_latency


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """An empty one, which processes find."""
    counter = Counter(tmp_path / "count")
    monkeypatch.setenv(FILE, str(counter.file))
    monkeypatch.setattr("bench.peers.counter._mine", _Mine())  # as in a process that has counted nothing yet
    return counter


def _work(start: "multiprocessing.synchronize.Barrier", tasks: int) -> None:
    for _ in range(tasks):
        begin()
        end()
    start.wait(20)  # no process ends before all have counted: each holds what it has opened until then


def test_processes_that_live_at_the_same_time_all_count(counter: Counter) -> None:
    """None waits for another one's end."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(3)
    before = time.monotonic()
    processes = [context.Process(target=_work, args=(together, tasks)) for tasks in (1, 20, 300)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    count = counter.read()
    assert (count.processes, count.ended) == (3, 321)
    assert before < count.first < count.last < time.monotonic()


def test_a_reset_counts_anew_in_processes_that_go_on(counter: Counter) -> None:
    """And what was counted before counts no more."""
    begin()
    end()
    counter.reset()
    assert counter.read().ended == 0
    sent = time.monotonic()
    note_latency(sent)
    end()
    assert (counter.read().processes, counter.read().ended) == (1, 1)
    assert counter.read().first >= sent
    (late,) = counter.latencies()
    assert 0 <= late < (time.monotonic() - sent) * 1_000


def test_a_fork_has_a_slot_of_its_own(counter: Counter) -> None:
    """It does not write into its parent's."""
    begin()
    end()
    pid = os.fork()
    if not pid:
        begin()
        end()
        os._exit(0)
    os.waitpid(pid, 0)
    assert (counter.read().processes, counter.read().ended) == (2, 2)
