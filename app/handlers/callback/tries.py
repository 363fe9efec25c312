"""What is recorded of a try, and how to read it again: a task keeps words of an attempt that failed, and no more."""

import re
from dataclasses import dataclass
from typing import Any

_RECORD = re.compile(r"(?:(?P<status>\d{3})|-) after (?P<duration>\d+) ms: (?P<error>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Try:
    """One try. `status`: of the answer; None where there was none. `error`: why it failed; None where it did not."""

    status: int | None
    duration_ms: int | None
    error: str | None


def failed(status: int | None, duration_ms: int, error: str) -> str:
    """The reason of a failed attempt."""
    return f"{'-' if status is None else status} after {duration_ms} ms: {error}"


def read_failed(message: str) -> Try:
    """What failed() has written; or what else became of an attempt, as when its consumer died."""
    record = _RECORD.fullmatch(message)
    if record is None:
        return Try(None, None, message)
    status = record["status"]
    return Try(None if status is None else int(status), int(record["duration"]), record["error"])


def delivered(status: int, duration_ms: int) -> dict[str, Any]:
    """The result of a delivery."""
    return {"status": status, "duration_ms": duration_ms}


def read_delivered(result: Any) -> Try:
    """What delivered() has written."""
    return Try(result["status"], result["duration_ms"], None)
