"""The plan has every fault once, the report hides nothing, and weakened builds are weak."""

from collections import Counter
from pathlib import Path

import pytest

from app.consumer.heartbeat import Heartbeat
from app.queue import finish
from tests.chaos.builds import FENCE, weaken
from tests.chaos.checker import check
from tests.chaos.fault import Fault, Finding
from tests.chaos.history import Call, History, Outcome
from tests.chaos.plan import FAULTS, FULL_SECONDS, PLAN, dose, stages
from tests.chaos.process import Exit, Why
from tests.chaos.report import BEGIN, END, Report, Result


async def _inject(*_: object) -> Finding:
    return Finding()


FAULT = Fault("some-fault", "some fault", 100, "nothing happens", _inject)


def test_every_fault_is_injected_once() -> None:
    """What exists is in the plan, and in one stage only."""
    assert Counter(fault.name for stage in PLAN for fault in stage.faults) == Counter(FAULTS.keys())


def test_doses_follow_the_time() -> None:
    """All of it in a full run, and at least one in the shortest."""
    assert [dose(FAULT, seconds) for seconds in (FULL_SECONDS, FULL_SECONDS / 2, 180, 1)] == [100, 48, 1, 1]


def test_some_faults_only() -> None:
    """Their stages alone, without the others that would go beside them."""
    assert [stage.lanes for stage in stages({"kill-api", "freeze"})] == [(("freeze",),), (("kill-api",),)]


@pytest.mark.parametrize("fence", ["tasks.id = ANY($1::uuid[])", "tasks.status = 'processing'"])
def test_weakened_builds_have_no_fence(fence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is found in every statement, and a second time it is an error to find none."""
    for name, text in vars(finish).copy().items():
        if isinstance(text, str):
            monkeypatch.setattr(finish, name, text)  # given back at the end
    beat = Heartbeat._beat
    monkeypatch.setattr(Heartbeat, "_beat", beat)  # the same
    assert FENCE in finish._COMPLETE
    weaken(fence)
    assert Heartbeat._beat is not beat
    assert not [name for name, text in vars(finish).items() if isinstance(text, str) and FENCE in text]
    with pytest.raises(RuntimeError, match="the fence stands in"):
        weaken(fence)


def test_the_report_hides_nothing(tmp_path: Path) -> None:
    """What was not done, or too seldom, is said; so is each violation, and how to do it again."""
    report = Report(7, 180, "normal", is_partial=True)
    report.results = [
        Result(FAULT, 3, Finding(injected=3, facts={"longest": "2 s"})),
        Result(FAULT, 3, Finding(injected=2)),
        Result(FAULT, 3, Finding(injected=3, violations=["it broke"])),
        Result(FAULT, 3, Finding(skipped="needs root")),
    ]
    report.unsettled = ["stuck: one"]
    assert report.violations == ["some-fault: injected 2 times only, of 3", "some-fault: it broke", "stuck: one"]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report.write(page)
    lines = page.read_text().splitlines()
    assert lines[:2] == ["before", BEGIN]
    assert lines[-2:] == [END, "after"]
    assert "| some fault | 3 | nothing happens | passed |" in lines
    assert "- **some fault**: longest: 2 s" in lines
    assert "| some fault | not done: needs root | nothing happens | - |" in lines
    assert (
        "Again: `python -m tests.chaos --seconds 180 --seed 7 --only some-fault,some-fault,some-fault,some-fault`"
        in lines
    )


def test_what_the_checker_finds_has_a_row_of_its_own() -> None:
    """A fault that found nothing itself passes only for itself; nobody passes where nothing was judged."""
    report = Report(7, 180, "normal", is_partial=False)
    report.exits = [Exit("consumer", 1, 1, Why.DECLARED_DEAD, 3.0, "", fault) for fault in ("link", "link", "")]
    assert "| *all of it: the checker* | - | it gets to read a history | **not judged** |" in report.markdown()
    # A task that was answered with 201 and is not there.
    report.history = History(calls=[Call("create", "m", "", 1, 2, Outcome.OK, 201, ("id",))])
    report.verdict = check(report.history)
    rows = [line for line in report.markdown().splitlines() if line.startswith("| *all of it")]
    assert f"{len(report.verdict.violations)} violations" in rows[0]
    assert rows[1].endswith("| passed |")
    assert f"- exits that nobody asked for: {Why.DECLARED_DEAD}: 2 link, 1 allowed by no fault" in report.markdown()
