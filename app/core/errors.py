"""The error tree. A docstring is the default message; api/errors.py maps errors to HTTP answers."""

import inspect
from collections.abc import Sequence


class TaskmillError(Exception):
    """Something went wrong in Taskmill."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)))


class SettingsError(TaskmillError):
    """The settings are wrong."""


class DatabaseUnavailableError(TaskmillError):
    """PostgreSQL does not answer. Whether the last statement took effect is unknown."""


class DatabaseBusyError(DatabaseUnavailableError):
    """All connections to PostgreSQL stayed in use, though it answers. This statement was not sent."""


class WakeupUnavailableError(TaskmillError):
    """Redis does not answer."""


class RejectedRowError(TaskmillError):
    """PostgreSQL refuses a value of this task."""


class KeyReusedError(TaskmillError):
    """This Idempotency-Key was sent before with another body. Use a new key for a new request."""


class UnknownKindError(TaskmillError):
    """There is no handler for this kind of task."""


class InvalidPayloadError(TaskmillError):
    """The content is not what this kind of task takes."""

    def __init__(self, problems: Sequence[tuple[str, str]] = ()) -> None:
        """`problems`: a JSON pointer into the content, and what is wrong there; never the value itself."""
        super().__init__("; ".join(f"{pointer or '(content)'}: {detail}" for pointer, detail in problems) or None)
        self.problems = problems


class InvalidScheduleError(TaskmillError):
    """There is no such schedule in time."""

    def __init__(self, problems: Sequence[tuple[str, str]] = ()) -> None:
        """`problems`: the names of fields, and what is wrong with each; never the value itself."""
        super().__init__("; ".join(f"{field}: {detail}" for field, detail in problems) or None)
        self.problems = problems


class ScheduleDeclaredError(TaskmillError):
    """This schedule is part of the configuration (SCHEDULES_FILE): change it there. Running it now is possible."""


class LostClaimError(TaskmillError):
    """This run no longer holds its task: the task was canceled, or is another consumer's. Nothing was written."""


class NotRetryableError(TaskmillError):
    """Only a failed task can be retried."""


class NotDeletableError(TaskmillError):
    """Only a task that has ended can be deleted."""


class ConsumerDeclaredDeadError(TaskmillError):
    """This consumer's lease is gone: its tasks belong to others now."""
