"""One run of one task, and why it may be stopped."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.consumer.lane import Lane
from app.consumer.verdict import Record, Released, verdict
from app.core.task import Claim, ErrorCode
from app.handler_api.handler import Handler
from app.handler_api.outcome import Outcome, Retry


class StopReason(StrEnum):
    """Why a handler is stopped before its end."""

    CANCELED = "the task was canceled, or is another consumer's"
    TIMEOUT = "the time that it may take is over"
    RELEASED = "this consumer gives the task back"
    ABANDONED = "this process is ending, and must write nothing more"


@dataclass(slots=True, eq=False)
class Run:
    """One run of one task in this process."""

    claim: Claim
    handler: Handler[Any, Any]
    lane: Lane
    timeout_seconds: float | None
    stop_reason: StopReason | None = None
    is_working: bool = True
    is_recording: bool = False
    is_given_up: bool = False
    task: "asyncio.Task[None]" = field(init=False)
    timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self.stop_reason is not None

    def record_of(self, outcome: Outcome | Released) -> Record:
        """What is to be written."""
        return outcome if isinstance(outcome, Released) else verdict(self.claim, self.handler, outcome)

    def outcome_of_stop(self) -> Outcome | Released | None:
        """What its being stopped comes to; None where the row is no longer ours to write."""
        match self.stop_reason:
            case StopReason.RELEASED:
                return Released(self.stop_reason.value)
            case StopReason.TIMEOUT:
                return Retry(None, f"It was stopped after {self.timeout_seconds:g} s.", ErrorCode.TIMEOUT)
            case _:
                return None
