"""A history in which all is as it should be, for the tests of the checker."""

from collections.abc import Callable

from tests.chaos.checker import check
from tests.chaos.history import Injected, Options, Outcome
from tests.chaos.story import GROUP, START, STOPPED_GROUP, Story


def good() -> Story:
    """Some of everything, and all as it should be."""
    story = Story()
    _simple(story)
    _troubled(story)
    _grouped(story)
    _by_itself(story)
    _batched(story)
    _stopped(story)
    story.history.injected.append(Injected("fault", START + 6, START + 7, "consumer"))
    story.history.injected.append(Injected("kill-api", START - 1, START + 10_000, "1"))
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
    story.history.groups.append({"id": GROUP, "total": 2, "on_failure": "continue", **ended})
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
    story.call("cancel", 2.45, "callback", status="canceled", version=2)
    story.move("callback", "canceled", 2.5)
    story.call("read", 6.5, "plain", status="completed", version=3)


def _batched(story: Story) -> None:
    """Lines, of which one answer broke off."""
    options = Options(), Options(priority=0), Options(delay_seconds=1, key="key-2", max_attempts=3)
    asked = {"marker": "batch", "key": "batch", "asked": ("chaos_noop",) * 3, "options": options}
    story.call("batch", 9, "batch-0", "batch-2", outcome=Outcome.UNKNOWN, code=0, **asked)
    story.call("batch", 9.2, "batch-0", "batch-1", "batch-2", **asked)
    story.create("batch-0", 9.01, "batch", 0)
    story.create("batch-1", 9.01, "batch", 1, priority=0)
    story.create("batch-2", 9.01, "batch", 2, run_at=START + 10.005, concurrency_key="key-2", max_attempts=3)
    for number in range(3):
        story.claim(f"batch-{number}", 10.1)
        story.complete(f"batch-{number}", 10.2)


def _stopped(story: Story) -> None:
    """A group of which one fails, so that the others are canceled: one that runs, and one that waits."""
    made = {"marker": "stopped", "code": 201, "group": STOPPED_GROUP, "asked": ("chaos_sleep",) * 3 + ("chaos_noop",)}
    names = "stopped-a", "stopped-b", "stopped-c"
    story.call("group", 9, *names, "stopped-then", on_failure="cancel_rest", **made)
    for index, name in enumerate(names):
        story.create(name, 9, "stopped", index, kind="chaos_sleep", group_id=STOPPED_GROUP)
    story.claim("stopped-a", 9.1)
    story.claim("stopped-b", 9.1)
    story.fail("stopped-a", 9.2)
    for name in ("stopped-b", "stopped-c"):
        story.move(name, "canceled", 9.3, code="canceled_group")
    story.run("stopped-b", 9.4, "canceled")
    counts = {"id": STOPPED_GROUP, "total": 3, "completed": 0, "failed": 1, "canceled": 2}
    story.create("stopped-then", 9.4, "stopped", -1, more={"group": counts})
    story.claim("stopped-then", 9.5)
    story.complete("stopped-then", 9.6)
    ended = {"ended_at": START + 9.4, "canceled_at": None, "then_id": "stopped-then"}
    story.history.groups.append({"id": STOPPED_GROUP, "total": 3, "on_failure": "cancel_rest", **ended})


def broken_by(spoil: Callable[[Story], object]) -> set[str]:
    """The rules that the good history breaks when it has been spoiled."""
    story = good()
    spoil(story)
    return set(check(story.history).by_rule())
