"""`python -m tests.chaos.launch [--shift SECONDS] [--first MODULE] api|consumer`: a process as Supervisor runs it.

`--first` imports a module before anything of the service runs: it may replace parts. `--shift` moves the clock of this
process, as on a host whose clock is wrong, without libfaketime.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from app.utils.linux import end_with_parent
from tests.support.api import APP, OPTIONS


def run(arguments: Sequence[str]) -> int:
    """Be that process. Returns its exit code, or raises SystemExit with it, or ends at once."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.launch")
    parser.add_argument("--shift", type=float, default=0)
    parser.add_argument("--first", default="")
    parser.add_argument("role", choices=("api", "consumer"))
    asked = parser.parse_args(arguments)
    if asked.shift:
        importlib.import_module("tests.chaos.shifted").shift(asked.shift)
    if asked.first:
        importlib.import_module(asked.first)
    if asked.role == "api":
        sys.argv = ["uvicorn", *APP, *OPTIONS, "10"]
        importlib.import_module("uvicorn.main").main()
        raise AssertionError("unreachable: uvicorn exits")
    sys.argv = ["app.consumer"]
    return int(importlib.import_module("app.consumer.__main__").main())


if __name__ == "__main__":
    end_with_parent(os.getppid())  # as the zygote's children do
    sys.exit(run(sys.argv[1:]))
