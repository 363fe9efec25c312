"""What was asked, answered and done: the record that the checker reads.

All times are seconds since the epoch by this host's clock, which is PostgreSQL's as well. Ids are UUIDs as text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

STATUSES = ("pending", "processing", "completed", "failed", "canceled")


class Outcome(StrEnum):
    """What a client knows of its call afterwards."""

    OK = "ok"  # a 2xx was read: it has happened
    FAIL = "fail"  # a 4xx: it has not
    UNKNOWN = "unknown"  # no answer, or a 5xx: it may have happened, or may yet


class Options(NamedTuple):
    """What was asked of one task besides its kind and content."""

    priority: int = 1  # as in its row: 0 is high, 2 is low
    delay_seconds: float = 0.0
    key: str = ""  # concurrency_key; one task of it at a time
    max_attempts: int = 0  # 0: as the kind has it


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
    asked: tuple[str, ...] = ()  # kinds of the tasks that are to be made, in their order, a group's `then` last
    counts: tuple[int, ...] = ()  # of the group in the answer: total, and by status in the order of STATUSES
    # These two are not in histories that were kept before they were recorded.
    options: tuple[Options, ...] = ()  # of the tasks that are to be made, as `asked`
    on_failure: str = ""  # of the group that is to be made


class Transition(NamedTuple):
    """A row of the audit trigger: one committed change of one task's status, claim, attempt or lost_count.

    Of a task that has ended, any change.
    """

    seq: int  # in the order in which one task's changes were made
    at: float
    task: str
    old: str  # status before; "" for an INSERT
    new: str  # status after; "deleted" for a DELETE
    old_claim: str
    claim: str
    old_consumer: str  # id of the consumer's row
    consumer: str
    attempt: int
    lost_count: int
    error_code: str  # of the error that came with it, of a task that failed or is tried again; else ""
    message: str  # the same error's
    version: int
    run_at: float
    was_blocked: bool = (
        False  # whether the change found it waiting for a place of its concurrency key, if that is known
    )


class Run(NamedTuple):
    """One side of one run of a handler, written by the handler itself so that a SIGKILL loses nothing."""

    at: float
    task: str
    claim: str
    attempt: int
    phase: str  # start; or how it ended: done, failed, retry (as it was returned), canceled, raised, lost (its claim)
    pid: int


class Effect(NamedTuple):
    """A row written through a checkpoint, beside what its transaction has made of the task's row."""

    task: str
    n: int
    claim: str  # of the run that wrote it
    at: float
    holder: str  # the task's claim, as the transaction's change of the cursor has found it; "": it changed no cursor
    status: str  # the task's, then


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
    effects: list[Effect] = field(default_factory=list)
