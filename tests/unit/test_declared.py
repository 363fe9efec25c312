"""SCHEDULES_FILE: what it may say, and the one line for what it may not."""

from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.declared import load_declared
from app.core.errors import SettingsError
from app.core.schedule import Missed, NewSchedule
from app.handlers import Catalog

ROOT = Path(__file__).parents[2]

GOOD = """
[schedule.nightly-report]
cron = "30 2 * * *"
timezone = "Europe/Berlin"
kind = "simulate"
content = { report = "daily", parts = [1, 2.5, true] }
missed = "run_once"
enabled = false

[schedule."every.minute"]
cron = "* * * * *"
content = "hello"
"""

HEAD = '[schedule.nightly]\ncron = "0 2 * * *"\ncontent = 1\n'

# The text, and the parts of the line after the file's name.
WRONG = {
    "cron": (HEAD.replace("0 2", "0 25"), "schedule.nightly.cron: its field for the hour is wrong"),
    "never": (HEAD.replace("0 2 *", "0 2 30").replace("30 *", "30 2"), "schedule.nightly.cron: never comes due"),
    "cron is a number": (HEAD.replace('"0 2 * * *"', "5"), "schedule.nightly.cron: Input should be a valid string"),
    "no cron": ("[schedule.nightly]\ncontent = 1", "schedule.nightly.cron: is missing"),
    "no content": ('[schedule.nightly]\ncron = "0 2 * * *"', "schedule.nightly.content: is missing"),
    "zone": (HEAD + 'timezone = "Berlin"', "schedule.nightly.timezone: is no IANA time zone"),
    "kind": (HEAD + 'kind = "nothing"', "schedule.nightly.kind: There is no such kind of task"),
    "missed": (HEAD + 'missed = "twice"', "schedule.nightly.missed: Input should be 'skip' or 'run_once'"),
    "enabled": (HEAD + 'enabled = "yes"', "schedule.nightly.enabled: Input should be a valid boolean"),
    "unknown field": (HEAD + "retries = 3", "schedule.nightly.retries: is not a field of a schedule"),
    "content that the kind does not take": (
        HEAD.replace("content = 1", "content = { simulate_seconds = -1 }"),
        "schedule.nightly.content/simulate_seconds: ",
    ),
    "a date": (HEAD.replace("content = 1", "content = [2024-05-01]"), "schedule.nightly.content: has a date or a time"),
    "nan": (HEAD.replace("content = 1", "content = { a = nan }"), "schedule.nightly.content/a: is not a number"),
    "name": (HEAD.replace("nightly", '"a b"'), "schedule.a b: a name has 1 to 100 letters"),
    "name with a line break": (HEAD.replace("nightly", r'"a\nb"'), "schedule.a?b: a name has 1 to 100 letters"),
    "no table": ("schedule.nightly = 1", "schedule.nightly: Input should be a valid dictionary"),
    "no tables": ("schedule = 1", "schedule: must be a table for each schedule"),
    "another table": ("[schedules.nightly]\ncron = 1", "schedules: is nothing that this file may say"),
}


def test_each_field_counts(tmp_path: Path) -> None:
    """What is left out has the defaults of the API."""
    nightly, minutely = _load(tmp_path, GOOD)
    assert (nightly.name, nightly.recurrence.cron, nightly.recurrence.timezone) == (
        *("nightly-report", "30 2 * * *", "Europe/Berlin"),
    )
    assert (nightly.kind, nightly.content) == ("simulate", '{"report":"daily","parts":[1,2.5,true]}')
    assert (nightly.missed, nightly.enabled) == (Missed.RUN_ONCE, False)
    assert (minutely.name, minutely.recurrence.timezone, minutely.kind) == ("every.minute", "UTC", "simulate")
    assert (minutely.content, minutely.missed, minutely.enabled) == ('"hello"', Missed.SKIP, True)


@pytest.mark.parametrize(("text", "line"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    """It names the file, the schedule and the field."""
    error = _error(tmp_path, text)
    assert error.startswith(f"{tmp_path / 'schedules.toml'}: {line}")


def test_all_that_is_wrong_is_in_the_line(tmp_path: Path) -> None:
    """Of several fields and several schedules."""
    error = _error(tmp_path, '[schedule.a]\ncron = "x"\ntimezone = "y"\ncontent = 1\n[schedule.b]\ncron = "* * * * *"')
    for part in ("schedule.a.cron: ", "; schedule.a.timezone: ", "; schedule.b.content: is missing"):
        assert part in error


def test_what_is_not_toml_says_where(tmp_path: Path) -> None:
    """By line and column."""
    assert "line 2" in _error(tmp_path, "[schedule.a]\ncron = x\n")


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """A typing error in SCHEDULES_FILE must not remove all schedules."""
    with pytest.raises(SettingsError, match=r"SCHEDULES_FILE: .*nowhere\.toml is not there"):
        _load_from(tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match=r"SCHEDULES_FILE: .* can't be read"):
        _load_from(tmp_path)


def test_without_the_usual_file_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default need not be there."""
    monkeypatch.chdir(tmp_path)
    assert _load_from("config/schedules.toml") == []


def test_the_file_that_comes_with_it_declares_none_but_its_example_works(tmp_path: Path) -> None:
    """As it is, and with the comment signs taken away."""
    text = (ROOT / "config" / "schedules.toml").read_text()
    assert _load(tmp_path, text) == []
    example = "\n".join(line.removeprefix("# ") for line in text.partition("#\n")[2].splitlines())
    assert [schedule.name for schedule in _load(tmp_path, example)] == ["nightly-report"]


def _load(folder: Path, text: str) -> list[NewSchedule]:
    path = folder / "schedules.toml"
    path.write_text(text)
    return _load_from(path)


def _load_from(path: Path | str) -> list[NewSchedule]:
    values = {"database_url": "postgresql://h/d", "redis_url": "redis://h", "schedules_file": str(path)}
    settings = Settings.model_validate(values)
    return load_declared(settings, Catalog.load(settings).check)


def _error(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        _load(folder, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)
