"""`python -m tests.chaos`: real processes on real servers, broken by a seeded plan, and judged by their history."""

import argparse
import asyncio
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random, randrange

import uvloop

from tests.chaos.checker import check
from tests.chaos.fault import Fault, Finding
from tests.chaos.keeping import write_history
from tests.chaos.lateness import Lateness
from tests.chaos.plan import FAULTS, FULL_SECONDS, Stage, dose, stages
from tests.chaos.process import Exit, Why
from tests.chaos.report import Report, Result
from tests.chaos.running import BUILDS, FOLDER_MODE, read_all, running
from tests.chaos.scene import BEAT_SECONDS, LEASE_SECONDS, Scene
from tests.chaos.weakened import prove

SETTLE_SECONDS = 60.0  # without any end; hundreds may have been lost twice by then, and run one by one
_STARVED_SECONDS = 2 * LEASE_SECONDS  # before it hears of it
_BEGUN = time.monotonic()


def tell(text: str) -> None:
    """A line of progress, with the time since the start."""
    seconds = int(time.monotonic() - _BEGUN)
    sys.stdout.write(f"{seconds // 60:3}:{seconds % 60:02}  {text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the plan. 0: nothing was found. 1: something was, or a fault could not be injected as often as planned."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    seconds = float(os.environ.get("CHAOS_SECONDS") or FULL_SECONDS)
    parser.add_argument("--seconds", type=float, default=seconds, help=f"scales the doses: {FULL_SECONDS:g} is full")
    parser.add_argument("--seed", type=int, default=randrange(1_000_000), help="of everything random; any by default")
    parser.add_argument("--only", default="", help=f"some of {', '.join(FAULTS)}")
    parser.add_argument("--build", choices=BUILDS, default="normal", help="a weakened one, to see the checker find it")
    parser.add_argument("--write", type=Path, help="put the report between the marks of this page")
    parser.add_argument("--keep", action="store_true", help="the history and the logs, also where nothing was found")
    asked = parser.parse_args()
    only = set(filter(None, asked.only.split(",")))
    if unknown := only - FAULTS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    report = Report(asked.seed, asked.seconds, asked.build, bool(only))
    gc.disable()  # of a history that only grows a full collection takes a second, in which no link passes on anything
    folder = Path(tempfile.mkdtemp(prefix="taskmill-chaos-"))
    folder.chmod(FOLDER_MODE)
    tell(f"seed {asked.seed}, {folder}")
    try:
        uvloop.run(_run(report, folder, list(stages(only))))
    except (KeyboardInterrupt, asyncio.CancelledError):
        tell(f"stopped; what there is so far is in {folder}")
        return 130
    except Exception:  # noqa: BLE001 - what was found until then is told all the same
        report.unsettled.append(f"the driver did not get through: {traceback.format_exc()}")
    report.took = time.monotonic() - _BEGUN
    sys.stdout.write(f"\n{report.markdown()}")
    if asked.write:
        report.write(asked.write)
    return _keep(report, folder, is_asked=asked.keep)


async def _run(report: Report, folder: Path, plan: list[Stage]) -> None:
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)  # all that it has started ends too
    if report.build == "normal" and not report.is_partial:
        tell("the checker proves itself on weakened builds")
        report.proofs = await prove(folder / "weakened", report.seed, tell)
    async with running(folder / "scene", report.seed, report.build) as scene:
        tell("the service runs")
        await scene.load.start(plan[0].rate)
        for stage in plan:
            await _inject(stage, scene, report)
        report.unsettled += [f"stuck at the end: {text}" for text in await scene.load.stop()]
        report.history = await read_all(scene)
        report.unsettled += [f"clients: {count} x {text}" for text, count in scene.load.refused.items()]
        report.unsettled += scene.load.errors
        report.exits = scene.processes.exits
        starved = [end for end in scene.processes.unexplained if _is_starved(end, scene.lateness)]
        report.starved = len(starved)
        report.lateness = str(scene.lateness)
        report.unsettled += [str(end) for end in scene.processes.unexplained if end not in starved]
    tell(f"checking {len(report.history.transitions):,} transitions")
    report.verdict = check(report.history)


def _is_starved(end: Exit, lateness: Lateness) -> bool:
    """Whether it lost its lease while this process was late by more than the time from one of its beats to the next.

    The links are this process's as well: what they do not pass on, no consumer behind them gets through.
    """
    return end.why is Why.DECLARED_DEAD and lateness.within(end.at - _STARVED_SECONDS, end.at) > BEAT_SECONDS


async def _inject(stage: Stage, scene: Scene, report: Report) -> None:
    """All faults of a stage under load; then everything must come to rest."""
    tell(f"{stage.title}, at {stage.rate:g} tasks a second")
    scene.load.rate = stage.rate
    scene.load.resume()
    results = [Result(fault, dose(fault, report.seconds), Finding()) for fault in stage.faults]
    report.results += results
    by_name = {result.fault.name: result for result in results}
    lanes = [[by_name[name] for name in lane] for lane in stage.lanes]
    await asyncio.gather(*(_inject_lane(lane, scene, report.seed) for lane in lanes))
    stuck = await scene.load.settle(SETTLE_SECONDS)
    report.unsettled += [
        f"stuck after {stage.title!r}, and nothing has ended for {SETTLE_SECONDS:g} s: {text}" for text in stuck
    ]
    tell(f"settled, {len(stuck)} stuck" if stuck else "settled")


async def _inject_lane(lane: list[Result], scene: Scene, seed: int) -> None:
    for result in lane:
        begun = time.monotonic()
        result.finding = await _injected(result.fault, scene, result.dose, Random(f"{seed}:{result.fault.name}"))
        found = f"{len(result.violations)} violations: {result.violations[0]}" if result.violations else "passed"
        took = f"{result.finding.injected} times in {time.monotonic() - begun:.0f} s"
        tell(f"  {result.fault.name}: {result.finding.skipped or f'{took}, {found}'}")


async def _injected(fault: Fault, scene: Scene, times: int, random: Random) -> Finding:
    """What came of it; that it did not get through is a violation, and the others go on."""
    try:
        return await fault.inject(scene, times, random)
    except Exception:  # noqa: BLE001 - whatever it is
        return Finding(violations=[f"could not be injected: {traceback.format_exc(limit=-3)}"])


def _keep(report: Report, folder: Path, *, is_asked: bool) -> int:
    """Keep what helps to understand what was found; where nothing was, only if asked to."""
    if not report.violations and not is_asked:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    (folder / "report.md").write_text(report.markdown())
    (folder / "violations").write_text("\n".join(report.violations))
    if report.history is not None:
        write_history(report.history, folder / "history.jsonl.gz")
    tell(f"kept: {folder} (logs, report.md, history.jsonl.gz; python -m tests.chaos.checker reads that)")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
