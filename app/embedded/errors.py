"""What keeps the embedded set-up from starting, each in one line that says what to do."""

from app.core.errors import TaskmillError


class StartError(TaskmillError):
    """Taskmill can't start here."""


class StoppedError(TaskmillError):
    """A signal asked to stop before the start was complete."""
