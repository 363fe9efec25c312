"""All that a handler may import from app."""

from app.handler_api.context import LostClaim, Options, Progress, TaskContext
from app.handler_api.group import GroupResult
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done, ErrorCode, Fail, Outcome, Retry, Snooze
from app.handler_api.payload import Payload
from app.handler_api.spawn import Child

__all__ = [
    "Child",
    "Done",
    "ErrorCode",
    "Fail",
    "GroupResult",
    "Handler",
    "LostClaim",
    "Options",
    "Outcome",
    "Payload",
    "Progress",
    "Retry",
    "Snooze",
    "TaskContext",
]
