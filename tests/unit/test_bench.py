"""What `make bench` writes, and that each of its programs starts."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast
from xml.etree import ElementTree as ET

import pytest

from bench import results as store
from bench.__main__ import _earlier
from bench.contender import Figure
from bench.creates import floor, measure_create
from bench.floor import Floor, FrameworkFloor
from bench.limits.postgres import Batch, Id, batches_for, random_id, repeat
from bench.load import parse
from bench.numbers import percentile
from bench.plots import PLOTS
from bench.report import fill, write_report
from bench.results import Part, Results
from bench.run import FULL, QUICK, Run
from bench.svg import Group, bar_chart
from bench.tables import TABLES
from tests.support.servers import Servers
from tests.support.types import Connection

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in ROOT.glob("bench/**/*.py")
    if "argparse.ArgumentParser(" in file.read_text()
)
WRK = """Running 1s test @ http://127.0.0.1:1/task
  2 threads and 64 connections
  Latency Distribution
     50%    4.10ms
     99%    1.20s
  9050 requests in 1.00s, 3.21MB read
  Socket errors: connect 0, read 2, write 0, timeout 1
  Non-2xx or 3xx responses: 4
Requests/sec:   9045.12
"""


def _results() -> Results:
    """Taskmill is 12 times as fast as naive, once 8 times, and slower than a peer."""
    creates = [
        Figure(name, f"creates_{connections}", "1/s", value, number)
        for connections in (1, 64)
        for number, pair in enumerate((("Taskmill", 1200), ("naive", 100)) for _ in range(2))
        for name, value in pair
    ]
    creates += [Figure("Taskmill", "creates_64", "1/s", 800.0, 2), Figure("naive", "creates_64", "1/s", 100.0, 2)]
    peers = [
        Figure(name, measure, "", value, 0)
        for name, value in (("Taskmill", 900.0), ("fast <peer>", 1000.0), ("slow", 5.0))
        for measure in ("no-op tasks, 1 worker", "no-op tasks, 2 workers", "enqueue to start, p50")
    ]
    parts = {"creates": Part(creates, ["naive: gone"], "2026-01-01T00:00:00+00:00", 60), "peers": Part(peers)}
    return Results("full", "a machine", {}, parts)


def test_the_report_is_written_and_read_again(tmp_path: Path) -> None:
    """Every table and plot, also of what was not measured; the same figures again; text around the tables stays."""
    page = tmp_path / "performance.md"
    write_report(_results(), tmp_path)
    page.write_text(page.read_text().replace("# Performance\n", "# Ours\n"))
    write_report(store.read(tmp_path / "performance" / "results.json"), tmp_path)
    text = page.read_text()
    assert text.startswith("# Ours\n")
    assert text.count("<!-- end -->") == len(TABLES)
    assert "| creates/s, 64 connections | 1,200 (800–1,200) | 100 (100–100) | 12.0 (8.00–12.0) |" in text
    assert "- creates: naive: gone" in text
    for name in PLOTS:
        root = ET.parse(tmp_path / "performance" / f"{name}.svg").getroot()  # noqa: S314 - our own
        assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_what_another_machine_has_measured_is_not_mixed_in(tmp_path: Path) -> None:
    """It begins anew there."""
    store.write(_results(), tmp_path / "results.json")
    assert _earlier(tmp_path / "results.json", FULL, "a machine").parts
    assert not _earlier(tmp_path / "results.json", FULL, "a better machine").parts


def test_a_plot_shows_what_there_is() -> None:
    """Where no peer has a latency, Taskmill beside naive."""
    results = _results()
    assert "fast &lt;peer&gt;" in PLOTS["latency"](results)
    results.parts["peers"].figures = [one for one in results.parts["peers"].figures if "start" not in one.measure]
    results.parts["latency"] = Part([Figure("naive", "row_to_start_p50", "ms", 2.0)])
    chart = PLOTS["latency"](results)
    assert "beside a naive implementation" in chart
    assert chart.count('height="14"') == 1


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (50, 3), (99, 5), (100, 5)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    """The least that so many percent do not exceed."""
    assert percentile([5, 3, 1, 4, 2], share) == expected


async def test_a_limit_is_of_what_was_made_before() -> None:
    """Each batch is sent once, by whichever connection is free; all of other ids; used up, it is over."""
    batches = batches_for(0.01, 1_000, random_id)
    sent: list[Id] = []

    async def step(_: object, batch: Batch) -> None:
        sent.extend(batch[0])

    assert await repeat([cast("Connection", None)] * 2, step, batches, 60) == len(sent) == 1_000 * len(batches)
    assert len(set(sent)) == len(sent)


def test_the_page_of_the_docs_has_a_place_for_each_table() -> None:
    """fill() refuses a page that has not."""
    page = (ROOT / "docs" / "performance.md").read_text()
    assert "| creates/s, 64 connections |" in fill(page, _results())
    with pytest.raises(ValueError, match="0 places for the table 'targets'"):
        fill(page.replace("<!-- bench: targets -->", ""), _results())


def test_a_logarithmic_chart_has_a_bar_for_each_value() -> None:
    """In the order of its groups, longer for more."""
    chart = bar_chart("T", "ms", ["p50", "p99"], [Group("a", [1.5, 20.0]), Group("b", [0.2, None])], is_log=True)
    lengths = [float(found) for found in re.findall(r'width="([\d.]+)" height="14"', chart)]
    assert len(lengths) == 3
    assert lengths[1] > lengths[0] > lengths[2]


def test_what_wrk_prints_is_read() -> None:
    """Milliseconds, and all that failed."""
    load = parse(WRK)
    assert (load.per_second, load.p50_ms, load.p99_ms, load.requests, load.failed) == (9045.12, 4.1, 1200, 9050, 7)
    with pytest.raises(ValueError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused")


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_says_what_it_can(program: str) -> None:
    """--help imports all that it is made of."""
    name = program.removesuffix(".__main__")
    done = subprocess.run([sys.executable, "-m", name, "--help"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert f"python -m {name}" in done.stdout


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt install wrk")
async def test_a_part_is_measured() -> None:
    """The one that needs no servers, for less than a second: figures of both floors."""
    run = Run(Servers("", ""), replace(QUICK, seconds=0.5))
    for kind in (Floor, FrameworkFloor):
        async with floor(kind) as started:
            await measure_create(run, 64, started, 0)
    rates = {one.subject: one.value for one in run.figures if one.measure == "creates_64"}
    assert rates.keys() == {"bare ASGI", "bare FastAPI"}
    assert min(rates.values()) > 0


async def test_who_fails_is_left_out_and_the_rest_goes_on() -> None:
    """In turns, backwards in every other round."""
    run = Run(Servers("", ""), QUICK)
    called: list[tuple[str, int]] = []

    async def once(name: str, number: int) -> None:
        called.append((name, number))
        if name == "b":
            raise ValueError("broken")

    await run.take_turns(["a", "b", "c"], 2, once, str)
    assert called == [("a", 0), ("b", 0), ("c", 0), ("c", 1), ("a", 1)]
    assert run.failures == ["b: ValueError: broken"]


def test_a_part_that_is_not_there_is_refused() -> None:
    """With the names of those that are."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "nothing"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert "no part nothing; there are creates, batches" in done.stderr


def test_without_its_tools_it_says_what_to_install(tmp_path: Path) -> None:
    """One line, nothing started."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "apt install wrk redis-tools" in done.stderr
