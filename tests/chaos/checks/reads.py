"""What clients see: a task that was acknowledged is there, and its version only grows."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.checks.index import Index, Violation, clock
from tests.chaos.history import Call

BACKWARDS, MISSING = "read went backwards", "not found, though acknowledged"
NEVER = "seen as it never was"
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


def seen(index: Index) -> Iterator[Violation]:
    """Each answer shows the task with a status that it had in that version. Progress counts versions as well."""
    for call in index.acknowledged("create", "read", "cancel", "retry"):
        chain = index.chains.get(call.ids[0], ()) if len(call.ids) == 1 else ()
        if not call.version or not chain:
            continue
        place = bisect_right(chain, call.version, key=lambda change: change.version)
        row = index.rows.get(call.ids[0])
        status = chain[place - 1].new if place else "not there"
        if status != call.status or (row is not None and call.version > row.version):
            was = f"it was {status}, and has come to version {row.version if row else '-'}"
            at = clock(call.ended)
            yield Violation(NEVER, f"task {call.ids[0]}: {call.verb} at {at} shows {call.status} {call.version}; {was}")


def found(index: Index) -> Iterator[Violation]:
    """Who asks after an acknowledged create finds the task, or group. A `then` is not there before its group's end."""
    unborn = {str(group["then_id"]) for group in index.groups.values()}
    created: dict[str, float] = {}
    for call in index.acknowledged("create", "batch", "group", "schedule"):
        for made in filter(None, (*call.ids, call.group)):
            created[made] = min(call.ended, created.get(made, call.ended))
    for verb in ("read", "cancel", "retry", "read_group", "cancel_group"):
        for call in index.calls[verb]:
            about = call.group or call.ids[0]
            if call.code == NOT_FOUND and about not in unborn and call.invoked > created.get(about, call.invoked):
                times = f"acknowledged at {clock(created[about])}, {verb} at {clock(call.invoked)}"
                yield Violation(MISSING, f"{about}: {times}")
