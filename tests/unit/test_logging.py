"""Events become lines: JSON or text, each line of a task's life with its task_id."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any, get_type_hints
from uuid import UUID, uuid4

import pytest

from app.core import events as e
from app.core.config import Settings
from app.core.logging import Formatter, log_event, set_up_logging

EVENTS = [kind for kind in vars(e).values() if isinstance(kind, type) and issubclass(kind, e.Event) and kind != e.Event]
TASK_EVENTS = [kind for kind in EVENTS if {"task_id", "task_ids"} & {field.name for field in fields(kind)}]
DEBUG_EVENTS = {
    e.TasksCreated,
    e.TasksClaimed,
    e.TasksCompleted,
    e.TasksSnoozed,
    e.HandlerStopped,
    e.ScheduleTicked,
}

Lines = Callable[[], list[str]]
Log = Callable[..., Lines]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Set up the log in a format and at a level; what is returned gives the lines so far."""
    logger = logging.getLogger("taskmill")
    before = logger.handlers, logger.level, logger.propagate

    def start(log_format: str, log_level: str = "debug") -> Lines:
        monkeypatch.setenv("LOG_FORMAT", log_format)
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(Formatter())
        logger.handlers, logger.propagate = [handler], False
        set_up_logging(_settings(log_format, log_level))
        return lambda: stream.getvalue().splitlines()

    yield start
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def test_there_are_events() -> None:
    """The tests below are about all of them."""
    assert len(EVENTS) > 15
    assert len(TASK_EVENTS) > 8


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_has_words(log: Log, kind: type[e.Event]) -> None:
    """In JSON: a message, a level, a time and the logger on each line."""
    lines = log("json")
    log_event(_make(kind))
    assert lines()
    for line in map(json.loads, lines()):
        assert line["event"]
        assert line["level"] in {"debug", "info", "warning", "error"}
        assert line["timestamp"].endswith("Z")
        assert line["logger"] == "taskmill"


@pytest.mark.parametrize("kind", TASK_EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_each_line_of_a_tasks_life_has_its_id(log: Log, kind: type[e.Event], log_format: str) -> None:
    """One line for each task of an event, in both formats."""
    lines = log(log_format)
    event: Any = _make(kind)
    ids = [event.task_id] if hasattr(event, "task_id") else event.task_ids
    log_event(event)
    if log_format == "json":
        assert [json.loads(line)["task_id"] for line in lines()] == [str(task_id) for task_id in ids]
    else:
        with_id = [line for line in lines() if "task_id=" in line]
        assert len(with_id) == len(ids)
        assert all(f"task_id={task_id}" in line for task_id, line in zip(ids, with_id, strict=True))


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_level_decides_which_events_are_lines(log: Log, level: str) -> None:
    """The steps of each task only at debug; what is wrong always, by its gravity."""
    lines = log("json", level)
    for kind in EVENTS:
        log_event(_make(kind))
    levels = {json.loads(line)["level"] for line in lines()}
    order = ["debug", "info", "warning", "error"]
    assert levels == set(order[order.index(level) :])


def test_the_steps_of_each_task_are_for_debugging(log: Log) -> None:
    """At info a task that goes well costs no line."""
    lines = log("json", "info")
    for kind in DEBUG_EVENTS:
        log_event(_make(kind))
    assert lines() == []


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_what_a_handler_raised_has_its_traceback(log: Log, log_format: str) -> None:
    """For its author; in JSON still one line."""
    lines = log(log_format)
    with pytest.raises(KeyError) as caught:
        _ = dict[str, str]()["no such shelf"]
    log_event(e.HandlerRaised(uuid4(), caught.value))
    text = "\n".join(lines())
    assert "KeyError: 'no such shelf'" in text
    assert "Traceback" in text
    assert "test_what_a_handler_raised" in text
    if log_format == "json":
        assert len(lines()) == 1


def test_a_line_is_one_line_whatever_is_in_it(log: Log) -> None:
    """No error's text can forge a second one."""
    lines = log("json")
    log_event(e.TaskFailed(uuid4(), "handler_error", 'x\n{"event": "forged"}\r\n\u2028'))
    assert len(lines()) == 1


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_process_that_sets_up_its_own_log_writes_to_stdout(log_format: str) -> None:
    """As the consumer does, by config/uvicorn.log.conf.yml; other libraries from warning on."""
    program = (
        "import logging; from uuid import UUID\n"
        "from app.core.config import Settings; from app.core import events; from app.core.logging import *\n"
        f"values = dict(database_url='postgresql://h/d', redis_url='redis://h', log_format='{log_format}')\n"
        "set_up_logging(Settings.model_validate(values))\n"
        "log_event(events.TasksCanceled([UUID(int=7)]))\n"
        "logging.getLogger('asyncio').info('unheard')\n"
        "logging.getLogger('asyncio').warning('heard')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={"LOG_FORMAT": log_format}, capture_output=True, text=True, check=True)
    ours, other = done.stdout.splitlines()
    assert done.stderr == ""
    assert str(UUID(int=7)) in ours
    assert "heard" in other
    assert (ours[0] == other[0] == "{") == (log_format == "json")


def _make(kind: type[e.Event]) -> e.Event:
    values: dict[Any, object] = {
        UUID: uuid4(),
        Sequence[UUID]: [uuid4(), uuid4()],
        Sequence[UUID | str]: [uuid4(), str(uuid4())],
        str: "words",
        int: 7,
        float: 1.5,
        bool: True,
        BaseException: ValueError("boom"),
    }
    return kind(**{name: values[hint] for name, hint in get_type_hints(kind).items()})


def _settings(log_format: str, log_level: str) -> Settings:
    urls = {"database_url": "postgresql://h/d", "redis_url": "redis://h"}
    return Settings.model_validate({**urls, "log_format": log_format, "log_level": log_level})
