"""The peers of the benchmark can be installed from what is written down, and nothing else is."""

import re
from collections import Counter
from typing import cast

import pytest

from bench.against_peers import ENQUEUE, _Plan
from bench.contender import Drained, Figure, Missing, Unable
from bench.peers.catalogue import PEERS
from bench.peers.measure import Turn, measure
from bench.peers.venvs import REQUIREMENTS
from bench.run import FULL, Run
from bench.taskmill import Taskmill
from tests.support.servers import Servers

MODULES = sorted({spec.module for spec in PEERS.values()})


@pytest.mark.parametrize("module", MODULES)
def test_requirements_are_pinned_with_hashes(module: str) -> None:
    """Each has a version and hashes, and there is no address."""
    text = (REQUIREMENTS / f"{module}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        assert re.fullmatch(r"[a-z0-9.-]+==\S+( ; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+", line), line
    assert "://" not in text


@pytest.mark.parametrize("module", MODULES)
def test_every_peer_has_its_script_and_its_requirements(module: str) -> None:
    """By the same name."""
    assert (REQUIREMENTS.parent / f"{module}.py").exists()
    assert (REQUIREMENTS / f"{module}.in").exists()


class _Half:
    """A contender that enqueues a thousand a second and can't work."""

    setting = ""
    resets = 0

    def __init__(self, name: str = "half") -> None:
        self.name = name

    def reset(self) -> None:
        self.resets += 1

    def enqueue(self, count: int, *, batch: bool) -> float:
        return count / (2_000 if batch else 1_000)

    def drain(self, count: int, *, workers: int) -> Drained:
        raise Unable(f"{workers} workers do nothing with {count} tasks")

    def latencies(self, rate: float, seconds: float) -> list[float]:
        return [1.0] * int(rate * seconds - 1) + [5.0]

    def sleepers(self, count: int) -> Drained:
        return Drained(count, 2.0, 1.0, 50.0, 0.5)


def test_what_a_contender_is_unable_to_do_is_missing_and_the_rest_is_measured() -> None:
    """Each from an empty store, in the round that was asked for."""
    contender, found = _Half(), list[Figure | Missing]()
    measure(contender, Turn(singles=100, tasks=10, rate=50, seconds=1, sleepers=4), 2, found.append)
    assert found == [
        Figure("half", "enqueue one by one", "tasks/s", 1_000.0, 2),
        Figure("half", "enqueue in batches", "tasks/s", 2_000.0, 2),
        Missing("half", "No-op tasks, 1 worker", "1 workers do nothing with 10 tasks"),
        Missing("half", "No-op tasks, 2 workers", "2 workers do nothing with 20 tasks"),
        Figure("half", "enqueue to start, p50", "ms", 1.0, 2),
        Figure("half", "enqueue to start, p99", "ms", 5.0, 2),
        Figure("half", "sleepers of 1 s, 1 worker", "tasks/s", 2.0, 2),
        Figure("half", "peak memory with sleepers", "MiB", 50.0, 2),
    ]
    assert contender.resets == 6


def test_what_is_not_asked_for_is_not_measured() -> None:
    """Nothing of nothing."""
    found = list[Figure | Missing]()
    measure(_Half(), Turn(singles=1), 0, found.append)
    assert [one.measure for one in found] == ["enqueue one by one"]


def test_those_that_decide_a_target_have_more_turns_and_what_may_be_left_out_comes_last() -> None:
    """The fastest, and the two that come nearest to our creates; each of the others has two."""
    ours, peers = (_Half("ours"), _Half("default")), [_Half(f"peer {number}") for number in range(5)]
    contenders = [peers[0], *ours, *peers[1:]]
    run = Run(Servers("", ""), FULL)
    for number, peer in enumerate(peers):
        run.add(peer.name, ENQUEUE, "tasks/s", 100.0 * number)
    sizes = dict.fromkeys([one.name for one in contenders], Turn())
    plan = _Plan(run, cast("tuple[Taskmill, Taskmill]", ours), contenders, sizes)
    steps = list(plan.steps())
    turns = Counter((step.name, step.what.partition(",")[0]) for step in steps)
    works = {one.name: turns[one.name, "no-op tasks"] for one in contenders}
    assert works == {"ours": 6, "peer 0": 6, "peer 1": 6, "default": 2, "peer 2": 2, "peer 3": 2, "peer 4": 2}
    assert [turns[one.name, "its enqueues beside creates"] for one in peers] == [2, 2, 2, 6, 6]
    assert {turns[one.name, "latency and sleepers"] for one in contenders} == {2}
    firsts = [step.is_second for step in steps]
    assert firsts == sorted(firsts)
