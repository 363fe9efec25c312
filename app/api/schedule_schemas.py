"""The shapes of schedules in requests and answers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas import AnyJson, to_json
from app.core.errors import InvalidScheduleError
from app.core.recurrence import Recurrence
from app.core.schedule import Schedule, ScheduleFields

_NEXT_RUNS = 3


class ScheduleBody(ScheduleFields):
    """A schedule to make, or to change an existing one into."""

    model_config = ConfigDict(strict=True, extra="forbid", title="NewSchedule")


class ScheduleView(BaseModel):
    """A schedule as it stands."""

    model_config = ConfigDict(title="Schedule")

    name: Annotated[str, Field(examples=["nightly-report"])]
    cron: Annotated[str, Field(examples=["30 2 * * *"])]
    timezone: Annotated[str, Field(description="Whose clocks `cron` means.", examples=["Europe/Berlin"])]
    description: Annotated[
        str | None, Field(description="`cron` in English.", examples=["At 02:30 every day"])
    ]  # null: put by a release that knows more
    kind: Annotated[str, Field(examples=["simulate"])]
    content: Annotated[AnyJson, Field(description="Of its tasks, as it was put.", examples=["hello"])]
    missed: Annotated[
        Literal["skip", "run_once"],
        Field(description="What becomes of ticks that no consumer was there for: nothing, or one task for the last."),
    ]
    enabled: Annotated[bool, Field(examples=[True])]
    declared: Annotated[bool, Field(description="It is in SCHEDULES_FILE: this API can't change it.", examples=[False])]
    next_runs: Annotated[
        list[datetime], Field(description="The next three, in UTC; none while it is not enabled.", examples=[[]])
    ]
    next_run_at: Annotated[
        datetime | None, Field(description="The first tick that has had no task yet; null while it is not enabled.")
    ]
    last_run_at: Annotated[datetime | None, Field(description="The last tick that made a task.", examples=[None])]
    last_task_id: Annotated[str | None, Field(description="That task.", examples=[None])]
    created_at: Annotated[datetime, Field(examples=["2024-10-25T08:04:08.990161Z"])]
    updated_at: Annotated[datetime | None, Field(description="Null until the first change.", examples=[None])]


class ScheduleList(BaseModel):
    """Schedules, by name."""

    schedules: Annotated[list[ScheduleView], Field(description="One page of them.")]
    next: Annotated[
        str | None, Field(description="What to send as `after` for the next page; null on the last.", examples=[None])
    ]


NEW_SCHEDULE_EXAMPLES: dict[str, dict[str, Any]] = {
    "every ten minutes": {"cron": "*/10 * * * *", "content": "hello"},
    "each night, made up for when missed": {
        "cron": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "kind": "simulate",
        "content": {"report": "daily"},
        "missed": "run_once",
    },
    "not for now": {"cron": "0 9 * * MON-FRI", "content": "hello", "enabled": False},
}
SCHEDULE_EXAMPLE: dict[str, Any] = {
    "name": "nightly-report",
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
    "description": "At 02:30 every day",
    "kind": "simulate",
    "content": {"report": "daily"},
    "missed": "run_once",
    "enabled": True,
    "declared": False,
    "next_runs": ["2024-10-26T00:30:00.000000Z", "2024-10-27T00:30:00.000000Z", "2024-10-28T01:30:00.000000Z"],
    "next_run_at": "2024-10-26T00:30:00.000000Z",
    "last_run_at": None,
    "last_task_id": None,
    "created_at": "2024-10-25T08:04:08.990161Z",
    "updated_at": None,
}


def render_schedule(schedule: Schedule, now: datetime) -> bytes:
    """The JSON of a ScheduleView. `now`: PostgreSQL's time, after which the next runs are."""
    english, next_runs = _meaning(schedule, now)
    fields = {
        "name": to_json(schedule.name),
        "cron": to_json(schedule.cron),
        "timezone": to_json(schedule.timezone),
        "description": to_json(english),
        "kind": to_json(schedule.kind),
        "content": schedule.content,  # JSON text already
        "missed": to_json(schedule.missed),
        "enabled": to_json(schedule.enabled),
        "declared": to_json(schedule.is_declared),
        "next_runs": to_json([_time(run) for run in next_runs]),
        "next_run_at": to_json(_time(schedule.next_run_at) if schedule.enabled else None),
        "last_run_at": to_json(_time(schedule.last_run_at)),
        "last_task_id": to_json(schedule.last_task_id),
        "created_at": to_json(_time(schedule.created_at)),
        "updated_at": to_json(_time(schedule.updated_at)),
    }
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


def render_schedules(schedules: list[tuple[Schedule, datetime]], following: str | None) -> bytes:
    """The JSON of a ScheduleList."""
    rendered = b",".join(render_schedule(schedule, now) for schedule, now in schedules)
    return b'{"schedules":[' + rendered + b'],"next":' + to_json(following).encode() + b"}"


def _meaning(schedule: Schedule, now: datetime) -> tuple[str | None, list[datetime]]:
    """Its expression in English, and its next runs."""
    try:
        recurrence = Recurrence(schedule.cron, schedule.timezone)
    except InvalidScheduleError:
        return None, []
    if not schedule.enabled:
        return recurrence.in_english, []
    first = schedule.next_run_at
    if first <= now:
        return recurrence.in_english, recurrence.upcoming(now, _NEXT_RUNS)
    return recurrence.in_english, [first, *recurrence.upcoming(first, _NEXT_RUNS - 1)]


def _time(time: datetime | None) -> str | None:
    """RFC 3339 with microseconds and Z, as in tasks; it is UTC."""
    return None if time is None else f"{time.isoformat(timespec='microseconds')[:26]}Z"
