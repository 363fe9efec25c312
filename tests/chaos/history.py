"""What was asked, answered and done: the record that the checker reads.

All times are seconds since the epoch by this host's clock, which is PostgreSQL's as well. Ids are UUIDs as text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Outcome(StrEnum):
    """What a client knows of its call afterwards."""

    OK = "ok"  # a 2xx was read: it has happened
    FAIL = "fail"  # a 4xx, or a 5xx that promises that nothing was done: it has not
    UNKNOWN = "unknown"  # no answer, or one that promises nothing: it may have happened, or may yet


class Call(NamedTuple):
    """One call of one client, from the first byte sent to the last one read."""

    verb: str  # create, batch, group, schedule, read, cancel, retry
    marker: str  # content's "marker" of what is to be made, new for each intent; "" where nothing is made
    key: str  # Idempotency-Key; "" where none is sent. A second try of one intent has the same marker and key
    invoked: float
    ended: float
    outcome: Outcome
    code: int  # HTTP status; 0: no answer
    ids: tuple[str, ...] = ()  # of the tasks in the answer; for a read, cancel or retry: of the task asked about
    group: str = ""  # id of the group in the answer
    status: str = ""  # of the task in the answer
    version: int = 0  # of the task in the answer


class Transition(NamedTuple):
    """A row of the audit trigger: one committed change of one task's status, claim, attempt or lost_count."""

    seq: int  # in the order in which one task's changes were made
    at: float
    task: str
    old: str  # status before; "" for an INSERT
    new: str  # status after
    old_claim: str
    claim: str
    old_consumer: str  # id of the consumer's row
    consumer: str
    attempt: int
    lost_count: int
    error_code: str  # error.code of a failed task, else ""


class Run(NamedTuple):
    """One side of one run of a handler, written by the handler itself so that a SIGKILL loses nothing."""

    at: float
    task: str
    claim: str
    attempt: int
    phase: str  # start, end, canceled
    pid: int


class Injected(NamedTuple):
    """A fault: from when to when, and on what."""

    fault: str
    begun: float
    ended: float
    target: str  # pid, consumer id, or the name of a server or link


@dataclass(slots=True)
class History:
    """Everything of one run. The driver fills the first two as it goes; the rest is read when all has settled."""

    calls: list[Call] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    tasks: list[Mapping[str, Any]] = field(default_factory=list)  # final rows of `tasks`, all columns
    groups: list[Mapping[str, Any]] = field(default_factory=list)  # final rows of `groups`
    effects: list[tuple[str, int]] = field(default_factory=list)  # (task, n): rows written through checkpoints
