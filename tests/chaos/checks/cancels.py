"""I3: 200 on cancel means canceled for ever."""

from collections.abc import Iterator

from tests.chaos.checks.index import Index, Violation, clock, said

OVERRIDDEN, DENIED, SEEN_LIVE = "cancel overridden", "cancel answered with another status", "canceled, then seen live"


def cancels(index: Index) -> Iterator[Violation]:
    """After the answer nothing happens to the task any more, and nobody sees it otherwise."""
    told: dict[str, float] = {}
    for call in index.acknowledged("cancel"):
        (task,) = call.ids
        told[task] = min(call.ended, told.get(task, call.ended))
        if call.status not in {"canceled", ""}:
            yield Violation(DENIED, f"task {task} at {clock(call.ended)}: 200 and {call.status}")
    for task, ended in told.items():
        row = index.rows.get(task)
        if row is not None and row.status != "canceled":
            claim = row.claim or "-"
            yield Violation(OVERRIDDEN, f"task {task} told so at {clock(ended)} is {row.status} under claim {claim}")
        for change in index.chains.get(task, ()):
            if change.at > ended:
                yield Violation(OVERRIDDEN, f"{said(change)}, after 200 on cancel at {clock(ended)}")
    for call in index.acknowledged("read"):
        (task,) = call.ids
        if call.status not in {"canceled", ""} and call.invoked > told.get(task, call.invoked):
            times = f"told at {clock(told[task])}, read at {clock(call.invoked)}"
            yield Violation(SEEN_LIVE, f"task {task} is {call.status} in version {call.version}; {times}")
