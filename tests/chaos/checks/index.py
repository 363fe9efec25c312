"""A history sorted once for all checks, and what a violation is."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any, NamedTuple, TypeAlias

from tests.chaos.history import Call, History, Outcome, Run, Transition

ENDED = frozenset({"completed", "failed", "canceled"})
CREATES = ("create", "batch", "group")
LONGEST_COMMIT_SECONDS = 2.0  # between a change, by its own time, and when others see it


class Violation(NamedTuple):
    """Something that a promise excludes. `evidence` is one line with the ids, times and claims of it."""

    rule: str
    evidence: str

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.rule}: {self.evidence}"


class Row(NamedTuple):
    """What checks need of a task's last row; "" and 0 where a column is null."""

    id: str
    kind: str
    status: str
    claim: str
    attempt: int
    lost_count: int
    version: int
    run_at: float
    group: str
    key: str
    limit: int
    callback_of: str
    content: Mapping[str, Any]
    result: Any
    error: Mapping[str, Any]
    max_attempts: int
    cursor: Any
    priority: int

    @property
    def place(self) -> int:
        """Which task of its intent it is, by its own content: from 0; -1 for a `then`, -2 for what nobody has sent."""
        index = self.content.get("index", 0)
        return index if isinstance(index, int) else -2

    @property
    def marker(self) -> str:
        """Which intent made it; "" for what Taskmill makes by itself."""
        return str(self.content.get("marker", ""))

    @property
    def is_in_child(self) -> bool:
        """Whether it runs in a child process, as some of the kinds of handlers.py do."""
        return self.kind.endswith("_in_child")

    @property
    def is_unruly(self) -> bool:
        """Whether its runs may end without a word, or with a late one.

        Those in a child process may be killed, and those that write through checkpoints may wait for PostgreSQL.
        """
        return self.is_in_child or self.kind in {"chaos_steps", "chaos_poison"}


class Life(NamedTuple):
    """From when to when a claim held its task; to infinity where it still does."""

    task: str
    consumer: str
    begun: float
    ended: float


class Index:
    """A history by task, claim, marker and verb."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.rows = {row.id: row for row in map(_row, history.tasks)}
        self.groups = {str(group["id"]): group for group in history.groups}
        self.chains: dict[str, list[Transition]] = defaultdict(list)
        for change in history.transitions:
            self.chains[change.task].append(change)
        for chain in self.chains.values():
            chain.sort()  # by seq
        self.lives = _lives(history.transitions)  # by claim
        self.runs: dict[str, list[Run]] = defaultdict(list)
        for run in history.runs:
            self.runs[run.claim].append(run)
        self.calls: dict[str, list[Call]] = defaultdict(list)
        for call in history.calls:
            self.calls[call.verb].append(call)
        self.intents: dict[str, list[Call]] = defaultdict(list)  # by marker, the calls that ask for the same tasks
        for verb in CREATES:
            for call in self.calls[verb]:
                self.intents[call.marker].append(call)
        self.members: dict[str, list[Row]] = defaultdict(list)  # by group
        for row in self.rows.values():
            if row.group:
                self.members[row.group].append(row)
        ends = (change.at for change in history.transitions), (call.ended for call in history.calls)
        self.now = max((at for each in ends for at in each), default=0.0)  # when all had settled

    def marker_of(self, task: str) -> str:
        """Of the intent that has made this task; "" where there is no such task."""
        return self.rows[task].marker if task in self.rows else ""

    def kind_of(self, task: str) -> str:
        """Of this task; "" where there is no such one."""
        return self.rows[task].kind if task in self.rows else ""

    def stops_at_failure(self, group: str) -> bool:
        """Whether the rest of a group is to be canceled when a member fails, as its client has asked for it.

        In histories of before that was recorded, as its row says.
        """
        markers = {row.marker for row in self.members[group]}
        asked = {call.on_failure for marker in markers for call in self.intents.get(marker, ())} - {""}
        return (asked or {self.groups.get(group, {}).get("on_failure", "")}) == {"cancel_rest"}

    def failed_at(self, group: str) -> float:
        """When the first member of a group has failed; infinity where none has."""
        chains = (self.chains.get(row.id, ()) for row in self.members[group])
        return min((change.at for chain in chains for change in chain if change.new == "failed"), default=inf)

    def acknowledged(self, *verbs: str) -> Iterable[Call]:
        """The calls of these verbs that a 2xx has answered."""
        return (call for verb in verbs for call in self.calls[verb] if call.outcome is Outcome.OK)


Check: TypeAlias = Callable[[Index], Iterable[Violation]]


def clock(at: float) -> str:
    """A time of day with milliseconds, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def said(change: Transition) -> str:
    """A transition in words."""
    claims = f"claim {change.old_claim or '-'} -> {change.claim or '-'}"
    counts = f"attempt {change.attempt}, lost {change.lost_count}"
    return f"task {change.task} {change.old or 'new'} -> {change.new} at {clock(change.at)}, {claims}, {counts}"


def seconds(time: Any) -> float:
    """A time of a row, in seconds since the epoch; 0 for null."""
    return time.timestamp() if isinstance(time, datetime) else float(time or 0)


def status_at(chain: Sequence[Transition], at: float) -> str:
    """Of a task at a time, by the times of the changes themselves."""
    status = "not there"
    for change in chain:
        if change.at > at:
            break
        status = change.new
    return status


def _lives(changes: Iterable[Transition]) -> dict[str, Life]:
    lives: dict[str, Life] = {}
    for change in changes:
        if change.old == "processing" and change.old_claim in lives:
            lives[change.old_claim] = lives[change.old_claim]._replace(ended=change.at)
        if change.new == "processing":
            lives.setdefault(change.claim, Life(change.task, change.consumer, change.at, inf))
    return lives


def _row(row: Mapping[str, Any]) -> Row:
    content = row["content"]
    return Row(
        id=str(row["id"]),
        kind=row["kind"],
        status=row["status"],
        claim=str(row["claim_id"] or ""),
        attempt=row["attempt"],
        lost_count=row["lost_count"],
        version=row["version"],
        run_at=seconds(row["run_at"]),
        group=str(row["group_id"] or ""),
        key=row["concurrency_key"] or "",
        limit=row["concurrency_limit"],
        callback_of=str(row["callback_of"] or ""),
        content=content if isinstance(content, dict) else {},
        result=row["result"],
        error=row["error"] or {},
        max_attempts=row["max_attempts"] or 0,
        cursor=row["cursor"],
        priority=row["priority"],
    )
