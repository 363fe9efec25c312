"""Measure Taskmill beside a naive implementation, other task queues and the limits of the machine.

All on the same servers, in turns: embedded PostgreSQL with fsync on and embedded Valkey, or those of DATABASE_URL and
REDIS_URL, where databases are made and dropped again, and of Redis' own some are emptied. Takes some two hours, and
writes docs/performance.md anew from what it found. `--quick` takes some 5 minutes, with fewer rounds, rows and peers,
and writes below data/bench only.
"""

import argparse
import asyncio
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from bench import results as store
from bench.machine import commit, loop_ms, machine, stolen_ticks, versions
from bench.parts import PARTS
from bench.report import write_report
from bench.results import Part, Results
from bench.run import FULL, QUICK, Dose, Run
from bench.servers import tcp_servers
from bench.tools import MissingToolError, require_tools

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data" / "bench"
DOCS = ROOT / "docs"


def main() -> int:
    """Run; 0 where all that was asked for was measured."""
    arguments = _parser().parse_args()
    dose = QUICK if arguments.quick else FULL
    file = DATA / ("quick.json" if arguments.quick else "results.json")
    if arguments.report_only:
        _report(_earlier(file, dose), dose)
        return 0
    try:
        require_tools()
    except MissingToolError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    results = _earlier(file, dose, machine())
    names = arguments.only or list(PARTS)
    try:
        _measure(names, dose, results, file)
    except KeyboardInterrupt:
        sys.stderr.write("bench: stopped; what was measured until now is kept\n")
        return 130
    _report(results, dose)
    failures = [line for name in names for line in results.parts[name].failures]
    print("\n".join(["", *(f"FAILED {line}" for line in failures)]))
    return 1 if failures else 0


def _measure(names: list[str], dose: Dose, results: Results, file: Path) -> None:
    begin = time.monotonic()
    if dose is QUICK:
        print("QUICK: fewer rounds, rows and peers. To see that all works, not to compare; `make bench` does that.")
    results.machine = machine()
    with tcp_servers() as servers:
        results.versions = asyncio.run(versions(servers))
        for number, name in enumerate(names, start=1):
            print(f"[{time.monotonic() - begin:5.0f} s] {number}/{len(names)} {name} ...", flush=True)
            source, speed = commit(), loop_ms()
            run, (stolen, ticks), started = Run(servers, dose), stolen_ticks(), time.monotonic()
            try:
                PARTS[name](run)
            except Exception as error:  # noqa: BLE001 - a finding, not the end of the run
                run.fail(name, error)
            seconds, (stolen_since, ticks_since) = time.monotonic() - started, stolen_ticks()
            results.parts[name] = Part(
                run.figures,
                run.failures,
                when=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(seconds, 1),
                commit=source,
                loop_ms=round(speed, 1),
                stolen=round(100 * (stolen_since - stolen) / max(1, ticks_since - ticks), 2),
            )
            store.write(results, file)
    print(f"[{time.monotonic() - begin:5.0f} s] done; the figures are in {file.relative_to(ROOT)}", flush=True)


def _report(results: Results, dose: Dose) -> None:
    """Into the docs, or below data/bench, where the page is nobody's work and may be an earlier version's."""
    folder = DATA / "quick" if dose is QUICK else DOCS
    if dose is QUICK:
        (folder / "performance.md").unlink(missing_ok=True)
    write_report(results, folder)


def _earlier(file: Path, dose: Dose, here: str | None = None) -> Results:
    """What is there of earlier runs: the last one's, else what came with the source; if told, only of this machine."""
    for place in (file, DOCS / "performance" / "results.json"):
        if place.exists():
            found = store.read(place)
            if found.dose == dose.name and here in {None, found.machine}:
                found.parts = {name: found.parts[name] for name in PARTS if name in found.parts}  # of those there are
                return found
    return Results(dose.name)


def _interrupt(_: int, __: FrameType | None) -> None:
    """SIGTERM as Ctrl-C, so that all that was started is stopped."""
    signal.raise_signal(signal.SIGINT)


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less of everything, in some 5 minutes")
    parser.add_argument(
        "--only", type=_parts, metavar="PART[,PART]", help=f"of {', '.join(PARTS)}; the rest stays as it was measured"
    )
    parser.add_argument("--report-only", action="store_true", help="write the tables and plots from the last figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
