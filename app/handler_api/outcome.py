"""How a run of a handler can end. The set is closed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done: the task is `completed`."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The work can't be done: the task is `failed`, with this reason for people and this code for programs."""

    reason: str
    code: str = "handler_error"


Outcome = Done | Fail
