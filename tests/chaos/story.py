"""A small history made by hand, for the tests of the checker. Names serve as ids, and `name-1` is its first claim."""

from collections import Counter
from typing import Any

from tests.chaos.history import Call, Effect, History, Outcome, Run, Transition

START = 1_000_020.0  # a whole minute, long ago
GROUP, STOPPED_GROUP = "group", "stopped group"


class Story:
    """Tells a history, a task's step at a time; then it can be spoiled."""

    def __init__(self) -> None:
        self.history = History()
        self.rows: dict[str, dict[str, Any]] = {}
        self.claims: Counter[str] = Counter()

    def create(self, name: str, at: float, marker: str = "", index: int = 0, **columns: Any) -> None:
        """A row appears."""
        content = {"marker": marker, "index": index} if marker else {}
        row = {
            "id": name,
            "kind": "chaos_noop",
            "status": "",
            "content": content | columns.pop("more", {}),
            "run_at": START + at,
            "concurrency_limit": 1,
            "priority": 1,
            **dict.fromkeys(("attempt", "lost_count", "version"), 0),
            **dict.fromkeys(("claim_id", "group_id", "concurrency_key", "callback_of")),
            **dict.fromkeys(("result", "error", "max_attempts", "cursor")),
            **columns,
        }
        self.rows[name] = row
        self.history.tasks.append(row)
        self.move(name, "pending", at)

    def move(self, name: str, new: str, at: float, *, code: str = "", message: str = "", **columns: Any) -> None:
        """A row changes, and so the audit notes it."""
        row = self.rows[name]
        old, old_claim = row["status"], row["claim_id"]
        if new == "failed":
            columns["error"] = {"code": code, "message": message, "attempt": row["attempt"]}
        row.update(columns, status=new, version=row["version"] + 1)
        claims = old_claim or "", row["claim_id"] or ""
        consumer = "consumer" if row["claim_id"] else ""
        counts = row["attempt"], row["lost_count"]
        change = (len(self.history.transitions) + 1, START + at, name, old, new, *claims, "", consumer, *counts)
        self.history.transitions.append(Transition(*change, code, message, row["version"], row["run_at"]))

    def claim(self, name: str, at: float) -> None:
        """A consumer claims it and starts its handler."""
        attempt = self.rows[name]["attempt"] + 1
        self.claims[name] += 1
        claim = f"{name}-{self.claims[name]}"
        self.move(name, "processing", at, attempt=attempt, claim_id=claim)
        self.run(name, at, "start")

    def run(self, name: str, at: float, phase: str) -> None:
        """The handler notes something."""
        row = self.rows[name]
        self.history.runs.append(Run(START + at, name, row["claim_id"], row["attempt"], phase, 1))

    def complete(self, name: str, at: float) -> None:
        """Its handler ends, and its consumer says so."""
        self.run(name, at, "done")
        self.move(name, "completed", at, result={"claim": self.rows[name]["claim_id"]})

    def again(self, name: str, at: float) -> None:
        """Its handler asks to be tried again, and its consumer says so."""
        self.run(name, at, "retry")
        self.move(name, "pending", at, code="handler_error", message=f"Not yet, {self.rows[name]['claim_id']}.")

    def fail(self, name: str, at: float) -> None:
        """Its handler gives up, and its consumer says so."""
        self.run(name, at, "failed")
        self.move(name, "failed", at, code="handler_error", message=f"As always, {self.rows[name]['claim_id']}.")

    def write(self, name: str, number: int, at: float, **fields: Any) -> None:
        """Its handler writes a number through a checkpoint."""
        row = self.rows[name]
        row["cursor"] = number
        effect = Effect(name, number, row["claim_id"], START + at, row["claim_id"], row["status"])
        self.history.effects.append(effect._replace(**fields))

    def call(self, verb: str, at: float, *ids: str, **fields: Any) -> None:
        """A client calls and is answered within 0.1 s."""
        known: dict[str, Any] = {
            "marker": "",
            "key": "",
            "outcome": Outcome.OK,
            "code": 200,
            "status": "",
            "version": 0,
            "group": "",
        }
        ended = {"ended": START + at + 0.1}
        call = Call(verb=verb, invoked=START + at, ids=ids, **(known | ended | fields))
        self.history.calls.append(call)

    @property
    def changes(self) -> list[Transition]:
        """All transitions so far."""
        return self.history.transitions

    def edit_change(self, name: str, number: int, **fields: Any) -> None:
        """Make the task's transition of this number another."""
        place = [place for place, change in enumerate(self.changes) if change.task == name][number]
        self.changes[place] = self.changes[place]._replace(**fields)

    def edit_call(self, verb: str, name: str, **fields: Any) -> None:
        """Make this call about the task another."""
        calls = self.history.calls
        place = next(place for place, call in enumerate(calls) if call.verb == verb and name in call.ids)
        calls[place] = calls[place]._replace(**fields)

    def forget(self, verb: str, name: str) -> None:
        """Take out the calls of this verb about the task."""
        calls = self.history.calls
        self.history.calls = [call for call in calls if call.verb != verb or name not in call.ids]

    def edit_group_read(self, **fields: Any) -> None:
        """Make the read of the group another."""
        place = next(place for place, call in enumerate(self.history.calls) if call.verb == "read_group")
        self.history.calls[place] = self.history.calls[place]._replace(**fields)

    def drop(self, name: str) -> None:
        """Make the task vanish, with all that was known of its runs."""
        self.history.tasks = [row for row in self.history.tasks if row["id"] != name]
        self.history.transitions = [change for change in self.changes if change.task != name]
        self.history.runs = [run for run in self.history.runs if run.task != name]
