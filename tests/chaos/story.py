"""A small history made by hand, for the tests of the checker. Names serve as ids, and `name-1` is its first claim."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.chaos.checker import check
from tests.chaos.history import Call, Effect, History, Injected, Outcome, Run, Transition

START = 1_000_020.0  # a whole minute, long ago
GROUP = "group"


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
        call = Call(verb=verb, invoked=START + at, ended=START + at + 0.1, ids=ids, **(known | fields))
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

    def edit_group_read(self, **fields: Any) -> None:
        """Make the read of the group another."""
        place = next(place for place, call in enumerate(self.history.calls) if call.verb == "read_group")
        self.history.calls[place] = self.history.calls[place]._replace(**fields)

    def drop(self, name: str) -> None:
        """Make the task vanish, with all that was known of its runs."""
        self.history.tasks = [row for row in self.history.tasks if row["id"] != name]
        self.history.transitions = [change for change in self.changes if change.task != name]
        self.history.runs = [run for run in self.history.runs if run.task != name]


def good() -> Story:
    """Some of everything, and all as it should be."""
    story = Story()
    _simple(story)
    _troubled(story)
    _grouped(story)
    _by_itself(story)
    story.history.injected.append(Injected("fault", START + 6, START + 7, "consumer"))
    return story


def _simple(story: Story) -> None:
    story.create("plain", 0, "plain")
    story.call("create", 0, "plain", marker="plain", key="key-1", code=201, status="pending", version=1)
    story.call("create", 0.2, "plain", marker="plain", key="key-1", code=201, status="pending", version=1)
    story.claim("plain", 1)
    story.call("read", 1.1, "plain", status="processing", version=2)
    story.complete("plain", 2)
    story.call("read", 2.1, "plain", status="completed", version=3)
    story.call("create", 0, marker="unknown", outcome=Outcome.UNKNOWN, code=0)
    story.create("unknown", 0, "unknown")
    story.claim("unknown", 0.5)
    story.complete("unknown", 0.6)
    story.call("create", 0, marker="refused", outcome=Outcome.FAIL, code=422)


def _troubled(story: Story) -> None:
    story.create("recovered", 3, "recovered", kind="chaos_steps", more={"rows": 2})
    story.call("create", 3, "recovered", marker="recovered", code=201)
    story.claim("recovered", 3.1)
    story.write("recovered", 1, 3.2)
    story.move("recovered", "pending", 4, claim_id=None, lost_count=1)
    story.claim("recovered", 4.1)
    story.write("recovered", 2, 4.15)
    story.complete("recovered", 4.2)
    story.create("failed", 3, "failed")
    story.call("create", 3, "failed", marker="failed", code=201)
    story.claim("failed", 3.1)
    story.again("failed", 3.2)
    story.claim("failed", 3.3)
    story.fail("failed", 3.4)
    story.call("retry", 3.5, "failed", status="pending", version=6)
    story.move("failed", "pending", 3.55, claim_id=None, attempt=0, error=None)
    story.claim("failed", 3.6)
    story.fail("failed", 3.7)
    story.create("released", 3, "released", kind="chaos_sleep")
    story.call("create", 3, "released", marker="released", code=201)
    story.claim("released", 3.1)
    story.run("released", 3.2, "canceled")
    story.move("released", "pending", 3.2, claim_id=None, attempt=0)
    story.claim("released", 3.3)
    story.complete("released", 3.4)
    story.create("canceled", 3, "canceled", kind="chaos_sleep")
    story.call("create", 3, "canceled", marker="canceled", code=201)
    story.claim("canceled", 3.1)
    story.call("cancel", 3.2, "canceled", status="canceled", version=3)
    story.move("canceled", "canceled", 3.25)
    story.run("canceled", 3.3, "canceled")
    story.call("read", 3.4, "canceled", status="canceled", version=3)


def _grouped(story: Story) -> None:
    for index, name in enumerate(("member-a", "member-b")):
        columns = {"group_id": GROUP, "concurrency_key": "key"}
        story.create(name, 5, "group", index, **columns)
    made = {"marker": "group", "code": 201, "group": GROUP, "asked": ("chaos_noop",) * 3}
    story.call("group", 5, "member-a", "member-b", "then", **made)
    story.claim("member-a", 5.1)
    story.complete("member-a", 5.2)
    story.claim("member-b", 5.3)
    story.complete("member-b", 5.4)
    counts = {"id": GROUP, "total": 2, "completed": 2, "failed": 0, "canceled": 0}
    story.create("then", 5.5, "group", -1, more={"group": counts})
    story.claim("then", 5.6)
    story.complete("then", 5.7)
    ended = {"ended_at": START + 5.5, "canceled_at": None, "then_id": "then"}
    story.history.groups.append({"id": GROUP, "total": 2, **ended})
    story.call("read_group", 8, group=GROUP, status="ended", counts=(2, 0, 0, 2, 0, 0))


def _by_itself(story: Story) -> None:
    story.call("put_schedule", 0, marker="schedule")
    story.create("tick", 0, "schedule")
    story.claim("tick", 0.1)
    story.complete("tick", 0.2)
    story.create("by hand", 1, "schedule")
    story.call("schedule", 1, "by hand", marker="schedule", status="pending", version=1)
    story.claim("by hand", 1.1)
    story.complete("by hand", 1.2)
    story.call("delete_schedule", 3, marker="schedule", code=204)
    story.create("callback", 2, kind="callback", callback_of="plain")
    story.move("callback", "canceled", 2.5)
    story.call("read", 6.5, "plain", status="completed", version=3)


def broken_by(spoil: Callable[[Story], object]) -> set[str]:
    """The rules that the good history breaks when it has been spoiled."""
    story = good()
    spoil(story)
    return set(check(story.history).by_rule())
