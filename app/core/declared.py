"""Schedules that are part of the configuration: SCHEDULES_FILE."""

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.core.config import Settings
from app.core.errors import InvalidPayloadError, InvalidScheduleError, SettingsError, UnknownKindError
from app.core.schedule import NAME_RULE, NewSchedule, ScheduleFields, is_name
from app.core.storable import unstorable
from app.utils.json_pointer import json_pointer

Check = Callable[[str, str], None]

_MESSAGES = {"missing": "is missing", "extra_forbidden": "is not a field of a schedule"}
_DEFAULT = Settings.model_fields["schedules_file"].default


def load_declared(settings: Settings, check: Check) -> list[NewSchedule]:
    """The declared schedules. `check`: as Catalog.check.

    Without a file at the default place there are none. Raises SettingsError: one line that names the file, and each
    schedule and field that is wrong.
    """
    path = Path(settings.schedules_file)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if settings.schedules_file == _DEFAULT:
            return []
        raise SettingsError(f"SCHEDULES_FILE: {path} is not there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(_one_line(f"SCHEDULES_FILE: {path} can't be read: {error}")) from None
    declared, wrong = [], [f"{name}: is nothing that this file may say" for name in tables if name != "schedule"]
    schedules = tables.get("schedule", {})
    if not isinstance(schedules, dict):
        schedules, wrong = {}, [*wrong, "schedule: must be a table for each schedule, as [schedule.nightly]"]
    for name, table in schedules.items():
        try:
            declared.append(_declared(name, table, settings.default_kind, check))
        except _WrongError as error:
            wrong += [f"schedule.{name}{place}: {detail}" for place, detail in error.problems]
    if wrong:
        raise SettingsError(_one_line(f"{path}: {'; '.join(wrong)}"))
    return declared


class _WrongError(Exception):
    """Where in the table of a schedule, and what."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__(problems)
        self.problems = problems


def _declared(name: str, table: Any, default_kind: str, check: Check) -> NewSchedule:
    if not is_name(name):
        raise _WrongError([("", NAME_RULE)])
    try:
        fields = ScheduleFields.model_validate(table)
        problems = list(_not_json(fields.content))
        if problems:
            raise _WrongError(problems)
        return fields.to_schedule(name, default_kind, check)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        found = [("".join(f".{part}" for part in d["loc"]), _MESSAGES.get(d["type"], d["msg"])) for d in details]
    except InvalidScheduleError as error:
        found = [(f".{field}", detail) for field, detail in error.problems]
    except UnknownKindError as error:
        found = [(".kind", str(error))]
    except InvalidPayloadError as error:
        found = [(f".content{pointer}", detail) for pointer, detail in error.problems]
    raise _WrongError(found)


def _not_json(content: Any) -> Iterator[tuple[str, str]]:
    """What TOML has and JSON has not."""
    for path, detail in unstorable({"content": content}):
        yield f".content{json_pointer(path[1:])}", detail
    try:
        json.dumps(content)
    except TypeError:
        yield ".content", "has a date or a time, and JSON has none: write it as a string"


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
