"""Events become numbers, which outlive processes; the page that explains them is complete."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints
from uuid import UUID, uuid4

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from app.core import events as e
from app.core.counted import COUNTED
from app.core.metrics import FOLDER_VARIABLE, Metrics

ROOT = Path(__file__).parents[2]
EVENTS = [kind for kind in vars(e).values() if isinstance(kind, type) and issubclass(kind, e.Event) and kind != e.Event]
# Counts two created tasks, says so, and lives until it is killed.
PROGRAM = """
import time
from uuid import uuid4
from app.core.events import TasksCreated
from app.core.metrics import Metrics
metrics = Metrics()
metrics.count(TasksCreated([uuid4(), uuid4()]))
print("counted", flush=True)
time.sleep(60)
"""


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    """Of this process alone."""
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return Metrics()


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_counts(metrics: Metrics, kind: type[e.Event]) -> None:
    """Each of its counters goes up, by the number of its tasks where it has several."""
    event: Any = _make(kind)
    before = _samples(metrics)
    metrics.count(event)
    after = _samples(metrics)
    expected = len(event.task_ids) if hasattr(event, "task_ids") else 1
    if isinstance(event, e.TasksPruned | e.GroupsPruned | e.LimitedAlone):
        expected = event.count
    assert COUNTED[kind]
    for counted in COUNTED[kind]:
        labels = tuple(str(getattr(event, label)) for label in counted.labels)
        key = (f"taskmill_{counted.name}_total", labels)
        assert after[key] - before.get(key, 0) == expected


def test_codes_are_there_before_the_first_error(metrics: Metrics) -> None:
    """A rate over a series that begins at 1 does not see its first error."""
    assert _samples(metrics)["taskmill_tasks_failed_total", ("timeout",)] == 0
    assert _samples(metrics)["taskmill_attempts_failed_total", ("handler_error",)] == 0


def test_names_are_as_prometheus_would_have_them(metrics: Metrics) -> None:
    """Counters end in _total, durations in seconds; all begin with the application's name, and are explained."""
    families = list(parse(metrics.text().decode()))
    assert len(families) > 30
    for family in families:
        assert re.fullmatch(r"taskmill_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        if family.type == "counter":
            assert {sample.name for sample in family.samples} <= {f"{family.name}_total"}
        else:
            assert family.type == "histogram"
            assert family.name.endswith(("_seconds", "_tasks"))


def test_each_metric_is_on_the_page() -> None:
    """docs/metrics.md names all of them with their labels, and no other."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    documented = dict(re.findall(r"^\| `(taskmill_\w+)` \| (.*?) \|", page, re.MULTILINE))
    expected = {
        f"taskmill_{counted.name}_total": ", ".join(f"`{label}`" for label in counted.labels)
        for several in COUNTED.values()
        for counted in several
    } | {
        "taskmill_create_batch_tasks": "",
        "taskmill_http_request_duration_seconds": "`method`, `route`, `status`",
        "taskmill_tasks": "`kind`, `status`",
        "taskmill_oldest_wait_seconds": "`kind`",
        "taskmill_consumers": "",
        "taskmill_postgresql_up": "",
    }
    assert documented == expected


def test_a_killed_process_takes_no_number_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who comes after it counts on in the same files; those who live at once have files of their own."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    ours = Metrics()
    for killed in range(3):
        process = _count(tmp_path)
        assert _samples(ours)["taskmill_tasks_created_total", ()] == 2 * (killed + 1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(tmp_path.glob("counter_*.db"))) == 2
    beside = [_count(tmp_path), _count(tmp_path)]
    assert _samples(ours)["taskmill_tasks_created_total", ()] == 10
    assert len(list(tmp_path.glob("counter_*.db"))) == 3
    for process in beside:
        process.kill()
        process.wait()


def test_prometheus_is_told_what_compose_runs() -> None:
    """The services of config/prometheus.yml, and the ports they have."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    told = yaml.safe_load((ROOT / "config" / "prometheus.yml").read_text())["scrape_configs"][0]["dns_sd_configs"]
    ports = {one["names"][0]: one["port"] for one in told}
    assert ports == {
        "app": compose["app"]["environment"]["PORT"],
        "consumer": compose["consumer"]["environment"]["METRICS_PORT"],
    }


def test_alerts_are_of_metrics_that_there_are() -> None:
    """Each name that config/alerts.yml asks for is in the tables of docs/metrics.md."""
    rules = yaml.safe_load((ROOT / "config" / "alerts.yml").read_text())["groups"][0]["rules"]
    asked = {name for rule in rules for name in re.findall(r"taskmill_\w+", rule["expr"])}
    told = set(re.findall(r"^\| `(taskmill_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert asked
    assert asked <= told


def _count(folder: Path) -> "subprocess.Popen[str]":
    env = {**os.environ, FOLDER_VARIABLE: str(folder)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    process.stdout.close()
    return process


def _samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    found = {}
    for family in parse(metrics.text().decode()):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "le"}
            found[sample.name, tuple(labels.values())] = sample.value
    return found


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
