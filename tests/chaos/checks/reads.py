"""What clients see: a task that was acknowledged is there, and its version only grows."""

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.checks.index import Index, Violation, clock
from tests.chaos.history import Call

BACKWARDS, MISSING = "read went backwards", "read of an acknowledged task: 404"
NOT_FOUND = 404


def versions(index: Index) -> Iterator[Violation]:
    """A call that began after another had ended shows no older version."""
    seen: dict[str, list[Call]] = defaultdict(list)
    for call in index.acknowledged("create", "read", "cancel", "retry"):
        if call.version and len(call.ids) == 1:
            seen[call.ids[0]].append(call)
    for task, calls in seen.items():
        newest: Call | None = None
        by_end = iter(sorted(calls, key=lambda call: call.ended))
        ended = next(by_end)
        for call in sorted(calls, key=lambda call: call.invoked):
            while ended.ended < call.invoked:  # by_end never runs dry here: `call` itself has ended later
                newest = ended if newest is None or ended.version > newest.version else newest
                ended = next(by_end)
            if newest is not None and call.version < newest.version:
                was = f"version {newest.version} ({newest.status}) at {clock(newest.ended)}"
                now = f"version {call.version} ({call.status}) in a call of {clock(call.invoked)}"
                yield Violation(BACKWARDS, f"task {task}: {was}, then {now}")


def found(index: Index) -> Iterator[Violation]:
    """A read after an acknowledged create finds the task. A `then` task is not there before its group's end."""
    unborn = {str(group["then_id"]) for group in index.groups.values()}
    created: dict[str, float] = {}
    for call in index.acknowledged("create", "batch", "group"):
        for task in call.ids:
            created[task] = min(call.ended, created.get(task, call.ended))
    for call in index.calls["read"]:
        if (
            call.code == NOT_FOUND
            and call.ids[0] not in unborn
            and call.invoked > created.get(call.ids[0], call.invoked)
        ):
            times = f"201 at {clock(created[call.ids[0]])}, read at {clock(call.invoked)}"
            yield Violation(MISSING, f"task {call.ids[0]}: {times}")
