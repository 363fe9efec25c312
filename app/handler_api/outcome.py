"""How a run of a handler can end. The set is closed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.task import ErrorCode

__all__ = ["Done", "ErrorCode", "Fail", "Outcome", "Retry", "Snooze"]


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done: the task is `completed`. `result` is any JSON value, and clients get it."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Retry:
    """This attempt failed. Try again `after` seconds (None: by the kind's backoff) while attempts are left.

    None left, the task is `failed` with this reason and code.
    """

    after: float | None = None
    reason: str = "The handler asked to be tried again."
    code: ErrorCode = ErrorCode.HANDLER_ERROR


@dataclass(frozen=True, slots=True)
class Fail:
    """The work can't be done, now or later: the task is `failed`, with this reason for people and code for programs."""

    reason: str
    code: ErrorCode = ErrorCode.HANDLER_ERROR


@dataclass(frozen=True, slots=True)
class Snooze:
    """Nothing failed, but it is too early: run again at `until` (with a time zone). No attempt is counted."""

    until: datetime


Outcome = Done | Retry | Fail | Snooze
