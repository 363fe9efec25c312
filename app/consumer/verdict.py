"""What a run's end means for its task: an outcome of the handler becomes a record for PostgreSQL."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from app.core.task import Claim, ErrorCode
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done, Fail, Outcome, Retry, Snooze
from app.queue.finish import Failure
from app.utils.backoff import full_jitter
from app.utils.in_words import in_words
from app.utils.strict_json import strict_json

_LONGEST_REASON = 2_000
_LARGEST_RESULT = 1_048_576  # characters of JSON
_LONGEST_DELAY = timedelta(days=3_650)


@dataclass(slots=True)
class Completed:
    """The task is completed. `result`: JSON text."""

    result: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The task is failed."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Again:
    """This attempt failed, and there is another after the delay."""

    failure: Failure
    delay: timedelta


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The task waits until then; the attempt does not count."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Released:
    """The task goes back to pending; no attempt is burnt."""

    reason: str


Record = Completed | Failed | Again | Snoozed | Released


class JsonText(str):
    """A result that is JSON text already, since it was encoded in the process in which the handler ran."""

    __slots__ = ()


def verdict(claim: Claim, handler: Handler[Any, Any], outcome: Outcome) -> Record:
    """The record for an outcome. Whatever a handler put into it, its task gets one."""
    match outcome:
        case Done(result):
            return _completed(result)
        case Retry(after, reason, code):
            return _again(claim, handler, after, _failure(reason, code))
        case Fail(reason, code):
            return Failed(_failure(reason, code))
        case Snooze(until):
            return _snoozed(until)
        case _:
            assert_never(outcome)


def portable(outcome: Outcome) -> Outcome:
    """An outcome with the same verdict, of values that can go from one process to another."""
    match outcome:
        case Done(result):
            record = _completed(result)
            if isinstance(record, Failed):
                return Fail(record.failure.message, record.failure.code)
            return Done(None if record.result is None else JsonText(record.result))
        case Retry(after, reason, code):
            failure = _failure(reason, code)
            seconds = _delay(after).total_seconds() if isinstance(after, int | float) else None
            return Retry(seconds, failure.message, failure.code)
        case Fail(reason, code):
            failure = _failure(reason, code)
            return Fail(failure.message, failure.code)
        case Snooze(until):
            snoozed = _snoozed(until)
            if isinstance(snoozed, Failed):
                return Fail(snoozed.failure.message, snoozed.failure.code)
            return Snooze(snoozed.until)
        case _:
            assert_never(outcome)


def _completed(result: Any) -> Completed | Failed:
    if result is None or isinstance(result, JsonText):
        return Completed(result)
    try:
        text = strict_json(result)
    except (ValueError, RecursionError) as error:
        return Failed(Failure(ErrorCode.HANDLER_ERROR, f"The result is no JSON: {in_words(error)}"))
    if len(text) > _LARGEST_RESULT:
        message = f"The result is longer than {_LARGEST_RESULT:,} characters of JSON: keep it elsewhere."
        return Failed(Failure(ErrorCode.HANDLER_ERROR, message))
    return Completed(text)


def _again(claim: Claim, handler: Handler[Any, Any], after: float | None, failure: Failure) -> Record:
    """Runs that were lost with their consumers count as attempts for MAX_LOST alone."""
    most = handler.max_attempts if claim.max_attempts is None else claim.max_attempts
    failures = claim.attempt - claim.lost_count
    if failures >= most:
        return Failed(failure)
    if not isinstance(after, int | float):
        after = full_jitter(failures, handler.retry_base_seconds, handler.retry_cap_seconds)
    return Again(failure, _delay(after))


def _delay(after: float) -> timedelta:
    try:
        return min(timedelta(seconds=max(0.0, after)), _LONGEST_DELAY)
    except (OverflowError, ValueError):  # infinity; and NaN, which is no number
        return _LONGEST_DELAY


def _snoozed(until: datetime) -> Snoozed | Failed:
    if not isinstance(until, datetime) or until.tzinfo is None:
        return Failed(Failure(ErrorCode.HANDLER_ERROR, "Snooze needs a datetime with a time zone."))
    try:
        return Snoozed(until.astimezone(UTC))
    except OverflowError:  # beyond the years that there are
        return Failed(Failure(ErrorCode.HANDLER_ERROR, "Snooze until a time that there is."))


def _failure(reason: object, code: object) -> Failure:
    try:
        return Failure(ErrorCode(code), _words(reason))  # type: ignore[arg-type]
    except ValueError:
        return Failure(ErrorCode.HANDLER_ERROR, f"{_words(reason)} ({_words(code)} is no code)")


def _words(value: object) -> str:
    """Not endless, and fit for a log."""
    return in_words(value)[:_LONGEST_REASON].replace("\0", "\ufffd")
