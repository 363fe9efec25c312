"""A small history made by hand, for the tests of the checker. Names serve as ids, and `name-1` is its first claim."""

from collections import Counter
from typing import Any

from tests.chaos.history import Call, History, Injected, Outcome, Run, Transition

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
            "kind": "noop",
            "status": "",
            "content": content | columns.pop("more", {}),
            "run_at": START + at,
            "concurrency_limit": 1,
            **dict.fromkeys(("attempt", "lost_count", "version"), 0),
            **dict.fromkeys(("claim_id", "group_id", "concurrency_key", "callback_of", "result", "error")),
            **columns,
        }
        self.rows[name] = row
        self.history.tasks.append(row)
        self.move(name, "pending", at)

    def move(self, name: str, new: str, at: float, *, error_code: str = "", **columns: Any) -> None:
        """A row changes, and so the audit notes it."""
        row = self.rows[name]
        old, old_claim = row["status"], row["claim_id"]
        row.update(columns, status=new, version=row["version"] + 1)
        claims = old_claim or "", row["claim_id"] or ""
        consumer = "consumer" if row["claim_id"] else ""
        counts = row["attempt"], row["lost_count"]
        change = (len(self.history.transitions) + 1, START + at, name, old, new, *claims, "", consumer, *counts)
        self.history.transitions.append(Transition(*change, error_code))

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
        self.run(name, at, "end")
        self.move(name, "completed", at, result={"claim": self.rows[name]["claim_id"]})

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
    story.create("recovered", 3, "recovered", more={"rows": 2})
    story.call("create", 3, "recovered", marker="recovered", code=201)
    story.claim("recovered", 3.1)
    story.history.effects.append(("recovered", 1))
    story.move("recovered", "pending", 4, claim_id=None, lost_count=1)
    story.claim("recovered", 4.1)
    story.history.effects.append(("recovered", 2))
    story.complete("recovered", 4.2)
    story.create("failed", 3, "failed")
    story.call("create", 3, "failed", marker="failed", code=201)
    story.claim("failed", 3.1)
    story.move("failed", "pending", 3.2)  # tried again, under the claim that it had
    story.claim("failed", 3.3)
    story.move("failed", "failed", 3.4, error_code="handler_error", error={"attempt": 2})
    story.call("retry", 3.5, "failed", status="pending")
    story.move("failed", "pending", 3.55, claim_id=None, attempt=0, error=None)
    story.claim("failed", 3.6)
    story.move("failed", "failed", 3.7, error_code="handler_error", error={"attempt": 1})
    story.create("canceled", 3, "canceled")
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
    story.call("group", 5, "member-a", "member-b", "then", marker="group", code=201, group=GROUP)
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


def _by_itself(story: Story) -> None:
    story.call("put_schedule", 0, marker="schedule")
    story.create("tick", 0, "schedule")
    story.claim("tick", 0.1)
    story.complete("tick", 0.2)
    story.create("callback", 2, kind="callback", callback_of="plain")
    story.move("callback", "canceled", 2.5)
    story.call("read", 6.5, "plain", status="completed", version=3)
