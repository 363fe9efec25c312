"""What a schedule is, and what is due of it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from app.core.recurrence import LONGEST_CRON, Recurrence

GRACE = timedelta(seconds=60)  # a tick that waited for longer was missed
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
NAME_RULE = "a name has 1 to 100 letters, digits, dots, dashes and underscores, and begins with a letter or a digit"

_NAME = re.compile(NAME_PATTERN.strip("^$"))


class Missed(StrEnum):
    """What becomes of ticks that were missed."""

    SKIP = "skip"
    RUN_ONCE = "run_once"


def is_name(text: str) -> bool:
    """Whether a schedule can have this name."""
    return _NAME.fullmatch(text) is not None


class ScheduleFields(BaseModel):
    """What is said of a schedule, by a client or in SCHEDULES_FILE."""

    model_config = ConfigDict(strict=True, extra="forbid")

    cron: Annotated[
        str,
        Field(
            max_length=LONGEST_CRON,
            description="Minute, hour, day of month, month and day of week, as in crontab.",
            examples=["30 2 * * *"],
            json_schema_extra={"format": "cron"},
        ),
    ]
    timezone: Annotated[
        str,
        Field(
            description="Whose clocks `cron` means: a name of the IANA database.",
            examples=["Europe/Berlin"],
            json_schema_extra={"format": "timezone"},
        ),
    ] = "UTC"
    kind: Annotated[
        str | None,
        Field(description="Which handler does its tasks; DEFAULT_KIND where it is left out.", examples=["simulate"]),
    ] = None
    content: Annotated[Any, Field(description="What its tasks are about: any JSON value.")]
    missed: Annotated[
        Literal["skip", "run_once"],
        Field(description="What becomes of ticks that no consumer was there for: nothing, or one task for the last."),
    ] = "skip"
    enabled: Annotated[bool, Field(description="Whether it ticks.", examples=[True])] = True

    def to_schedule(self, name: str, default_kind: str, check: Callable[[str, str], None]) -> "NewSchedule":
        """The schedule that is asked for. `check`: as Catalog.check.

        Raises InvalidScheduleError, and what `check` raises.
        """
        recurrence = Recurrence(self.cron, self.timezone)
        kind = default_kind if self.kind is None else self.kind
        content = to_json(self.content).decode()
        check(kind, content)
        return NewSchedule(name, recurrence, kind, content, Missed(self.missed), self.enabled)


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A schedule that is asked for. `content` is JSON text, already checked."""

    name: str
    recurrence: Recurrence
    kind: str
    content: str
    missed: Missed
    enabled: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as its row stands, in the order of queue/schedule.py's columns. `content` is JSON text."""

    name: str
    id: UUID
    cron: str
    timezone: str
    kind: str
    content: str
    missed: str
    enabled: bool
    is_declared: bool
    next_run_at: datetime
    last_run_at: datetime | None
    last_task_id: UUID | None
    created_at: datetime
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done at `now` for a schedule: a task for each of `ticks`, and to wait for `next_run_at`.

    `missed`: the first and the last of the ticks that were missed, None where there are none.
    """

    ticks: Sequence[datetime]
    next_run_at: datetime
    missed: tuple[datetime, datetime] | None


def due(recurrence: Recurrence, first: datetime, now: datetime, policy: Missed) -> Due:
    """What is due where `first` is the first tick that has had no task.

    Ticks of the last GRACE have their tasks. Of older ones, which were missed, the last has a task by `run_once`, and
    none by `skip`.
    """
    ticks, missed, tick = [], None, first
    if first < now - GRACE:
        last = recurrence.last(first, now - GRACE - datetime.resolution) or first
        missed = first, last
        ticks = [last] if policy == Missed.RUN_ONCE else []
        tick = recurrence.next(last)
    while tick <= now:
        ticks.append(tick)
        tick = recurrence.next(tick)
    return Due(ticks, tick, missed)
