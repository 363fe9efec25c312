"""What becomes of the API keys while a process runs."""

from dataclasses import dataclass

from app.core.events.event import Event


@dataclass(frozen=True, slots=True)
class KeysTakenUp(Event):
    """The file was changed; from now on these many keys are valid."""

    count: int


@dataclass(frozen=True, slots=True)
class KeysGone(Event):
    """The file has no keys any more, or is gone. Nobody gets in."""

    file: str


@dataclass(frozen=True, slots=True)
class KeysUnreadable(Event):
    """The file was changed and is wrong; the keys of before stay valid. Said once a change."""

    error: str
