"""What a run has reached, and when that is decided."""

import pytest

from bench.against_peers import CREATES, ENQUEUE, ONE
from bench.contender import Figure
from bench.numbers import interval
from bench.peers.catalogue import PEERS
from bench.results import Part, Results
from bench.standing import OPERATIONS, Laden
from bench.tables.limits import share_table
from bench.tables.standing import standing_table
from bench.targets import targets
from bench.taskmill import DEFAULT, US
from bench.verdict import Reached, all_of, decided
from bench.words import around, change

_SINGLE = "of any peer's enqueues"


def _reached(words: str, **parts: list[Figure]) -> Reached:
    """The target with these words, of a run that has found this."""
    results = Results("full", parts={name: Part(figures) for name, figures in parts.items()})
    (found,) = [one for one in targets(results) if words in one.target]
    return found


def _rounds(subject: str, measure: str, *values: float) -> list[Figure]:
    return [Figure(subject, measure, "", value, number) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([9.0], False),
        ([10.0, 11.0, 12.0], True),
        ([9.0, 11.0, 12.0], None),  # of few, all must be on one side
        ([7.0, 8.0, 9.9], False),
        ([9.0, *[11.0] * 20], True),  # of many, the median's interval
    ],
)
def test_a_target_is_decided_by_an_interval_on_one_side_of_it(values: list[float], *, expected: bool | None) -> None:
    """Met, missed, or neither."""
    assert decided(values, lambda value: value >= 10) is expected


@pytest.mark.parametrize(
    ("count", "outside"), [(1, 0), (2, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (14, 2), (20, 5)]
)
def test_the_interval_is_that_of_the_sign_test(count: int, outside: int) -> None:
    """So many values at either end are outside of it; of few, none is. The numbers are those of the usual tables."""
    assert interval([float(number) for number in range(count)]) == (outside, count - 1 - outside)


def test_one_that_is_missed_is_missed_and_all_must_be_met() -> None:
    """What is not decided does not hide what is missed."""
    assert all_of(True, None, False) is False
    assert all_of(True, None) is None
    assert all_of(True, True) is True


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    """In each line of it."""
    assert {(one.reached, one.is_met) for one in targets(Results("full"))} == {("not measured", None)}


def test_the_spread_of_a_ratio_can_leave_its_target_undecided() -> None:
    """Though its median is on the right side."""
    figures = _rounds(US, "creates_64", 1_200, 1_200, 800) + _rounds("naive", "creates_64", 100, 100, 100)
    assert _reached("of the naive", creates=figures).is_met is None
    assert _reached("of the naive", creates=figures[:2] + figures[3:5]).is_met is True


def _standing(ratios: list[float]) -> bool | None:
    """The verdict on these ratios of creates, claims and reads."""
    figures = [Figure(US, "ended_rows", "", 5.0)]
    for operation in OPERATIONS:
        figures += _rounds(US, f"ended_{operation}", *[100.0] * len(ratios))
        figures += _rounds(Laden.name, f"ended_{operation}", *(100.0 * ratio for ratio in ratios))
    return _reached("have ended", history=figures).is_met


def test_a_change_within_the_noise_is_not_decided() -> None:
    """Only where the whole interval is on one side of 5 % less."""
    assert _standing([0.98, 1.0, 1.02] * 5) is True
    assert _standing([0.85, 0.88, 0.9] * 5) is False
    assert _standing([0.7, 0.94, 0.96, 1.4] * 5) is None


def _beside(*peers: tuple[str, float]) -> list[Figure]:
    """A thousand creates a second beside these enqueues."""
    return [
        Figure(name, measure, "tasks/s", value)
        for name, rate in peers
        for measure, value in ((CREATES, 1_000.0), (ENQUEUE, rate))
    ]


def test_ahead_of_all_peers_is_decided_where_all_were_measured() -> None:
    """Behind one of them is behind; the nearest one is named."""
    first, *others = PEERS
    found = _reached(_SINGLE, peers=_beside(*((name, 500.0) for name in PEERS)))
    assert (found.reached, found.is_met) == (f"{first} 2.00; 13 of 13 measured", True)
    found = _reached(_SINGLE, peers=_beside((first, 500.0), *((name, 400.0) for name in others[1:])))
    assert (found.reached, found.is_met) == (f"{first} 2.00; 12 of 13 measured, not {others[0]}", None)
    assert _reached(_SINGLE, peers=_beside((first, 1_250.0))).is_met is False


def test_what_taskmill_makes_one_by_one_is_told_beside_it() -> None:
    """Since the target compares 64 connections with one caller."""
    found = _reached(_SINGLE, peers=_beside(*((name, 500.0) for name in PEERS)) + _rounds(US, ENQUEUE, 100.0))
    assert found.reached.endswith("one after another 100/s")


def test_taskmill_with_default_settings_is_no_peer() -> None:
    """It is told beside the ratio of the best setting to the best peer."""
    peers = [figure for name in PEERS for figure in _rounds(name, ONE, 500.0, 500.0)]
    figures = [*peers, *_rounds(US, ONE, 900.0, 1_000.0), *_rounds(DEFAULT, ONE, 600.0, 600.0)]
    found = _reached("one consumer (500 slots)", peers=figures)
    assert found.is_met is True
    assert "1.90 (1.80–2.00, 2 turns), with default settings 1.20 (1.20–1.20, 2 turns)" in found.reached


@pytest.mark.parametrize(("start", "row", "expected"), [(2.0, 1.0, True), (4.0, 1.0, False), (2.0, 4.0, False)])
def test_the_start_of_a_task_goes_by_the_stricter_measure(start: float, row: float, *, expected: bool) -> None:
    """From the POST, and from the row."""
    figures = [
        Figure(US, f"{measure}_{share}", "ms", value)
        for measure, value in (("start", start), ("row_to_start", row))
        for share in ("p50", "p99")
    ]
    found = _reached("create to start", latency=figures)
    assert found.is_met is expected
    assert "the bare chain, POST to first line, not measured" in found.reached


def test_a_share_is_of_pairs_where_there_are_pairs() -> None:
    """Else of the medians; and of a time it is the limit's."""
    figures = _rounds(US, "start_p50", 4.0, 4.0) + _rounds("bare", "start_p50", 1.0, 2.0)
    peers = _rounds(US, ONE, 100.0)
    limits = [Figure("asyncpg", "insert, claim and complete 500 tasks, 4 connections", "tasks/s", 400.0)]
    parts = {"latency": Part(figures), "peers": Part(peers), "limits": Part(limits)}
    text = share_table(Results("full", parts=parts))
    assert "| 4.00 (4.00–4.00) | the bare chain | 1.50 (1.00–2.00) | 0.38 (0.25–0.50) |" in text
    assert "| 100 | insert, claim and complete 500 tasks, 4 connections | 400 | 0.25 |" in text
    assert "| creates/s, 1 connection | – |" in text


def test_the_control_has_a_line_of_its_own() -> None:
    """Of two databases that are alike."""
    figures = [Figure(US, "nothing_rows", "", 0)]
    figures += _rounds(US, "nothing_reads", 100.0, 100.0) + _rounds(Laden.name, "nothing_reads", 99.0, 101.0)
    text = standing_table(Results("full", parts={"control": Part(figures)}))
    assert "| nothing: reads/s | 100 (100–100) | 100 (99.0–101) | +0.0 % (-1.0 % – +1.0 %, 2 turns) | – |" in text


def test_an_interval_of_few_turns_says_so() -> None:
    """It holds the median with less than 95 %."""
    assert around([1.0, 2.0]) == "1.50 (1.00–2.00, 2 turns)"
    assert around([1.0] * 6) == "1.00 (1.00–1.00)"
    assert change([1.01, 1.03]) == "+2.0 % (+1.0 % – +3.0 %, 2 turns)"
    assert change([1.01]) == "+1.0 %"
