"""A history as a file: gzipped lines of JSON, each an array that begins with what it is."""

import gzip
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos.history import Call, Effect, History, Injected, Options, Outcome, Run, Transition


def write_history(history: History, path: Path) -> None:
    """Keep it."""
    with gzip.open(path, "wt", compresslevel=1) as file:
        for line in _lines(history):
            file.write(json.dumps(line, default=_plain) + "\n")


def read_history(path: Path) -> History:
    """What was kept."""
    history = History()
    with gzip.open(path, "rt") as file:
        for line in file:
            match json.loads(line):
                case ["call", *fields]:
                    call = Call(*fields)
                    call = call._replace(ids=tuple(call.ids), asked=tuple(call.asked), counts=tuple(call.counts))
                    options = tuple(Options(*each) for each in call.options)
                    history.calls.append(call._replace(outcome=Outcome(call.outcome), options=options))
                case ["injected", *fields]:
                    history.injected.append(Injected(*fields))
                case ["transition", *fields]:
                    history.transitions.append(Transition(*fields))
                case ["run", *fields]:
                    history.runs.append(Run(*fields))
                case ["task", row]:
                    history.tasks.append(row)
                case ["group", row]:
                    history.groups.append(row)
                case ["effect", *fields]:
                    history.effects.append(Effect(*fields))
    return history


def _lines(history: History) -> Iterator[list[Any]]:
    yield from (["call", *call] for call in history.calls)
    yield from (["injected", *injected] for injected in history.injected)
    yield from (["transition", *change] for change in history.transitions)
    yield from (["run", *run] for run in history.runs)
    yield from (["task", dict(row)] for row in history.tasks)
    yield from (["group", dict(row)] for row in history.groups)
    yield from (["effect", *effect] for effect in history.effects)


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else str(value)
