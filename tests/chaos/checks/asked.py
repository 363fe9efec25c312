"""What there is, is what was asked for: each row is held against what its client has noted of its own request."""

from collections.abc import Iterator

from tests.chaos.checks.index import Index, Row, Violation, clock
from tests.chaos.history import Call

OTHER, OTHER_TIME = "not what was asked for", "due at another time"
_ONE_AT_A_TIME = 1  # of each key: nobody asks for more here
_CLOCK_SECONDS = 0.001


def asked(index: Index) -> Iterator[Violation]:
    """Each task has the kind, priority, key and attempts that its client has given it, and is due after its delay."""
    for row in index.rows.values():
        if row.marker in index.intents:
            call = min(index.intents[row.marker], key=lambda call: call.invoked)
            yield from _kind(call, row)
            yield from _options(index, call, row)
    for call in index.acknowledged("group"):
        on_failure = index.groups.get(call.group, {}).get("on_failure", call.on_failure)
        if call.on_failure not in {on_failure, ""}:
            yield Violation(OTHER, f"group {call.group}: on_failure {on_failure}, and not {call.on_failure}")


def _kind(call: Call, row: Row) -> Iterator[Violation]:
    kind = call.asked[row.place] if _is_asked(call, row) else "nothing"
    if call.asked and row.kind != kind:
        yield Violation(OTHER, f"task {row.id} ({row.marker} [{row.place}]) is of kind {row.kind}, and not {kind}")


def _options(index: Index, call: Call, row: Row) -> Iterator[Violation]:
    if not call.options or not _is_asked(call, row):
        return
    options = call.options[row.place]
    of = f"task {row.id} ({row.marker} [{row.place}])"
    real = row.priority, row.key, row.limit, row.max_attempts
    if real != (options.priority, options.key, _ONE_AT_A_TIME, options.max_attempts):
        yield Violation(OTHER, f"{of} has priority, key, limit and attempts {real}, and not as in {options}")
    born = next(iter(index.chains.get(row.id, ())), None)
    if born is not None and not born.old:
        # By PostgreSQL's clock, which is that of the client's host, from the transaction in which it was made.
        earliest, latest = call.invoked + options.delay_seconds, born.at + options.delay_seconds
        if not earliest - _CLOCK_SECONDS <= born.run_at <= latest + _CLOCK_SECONDS:
            at = f"at {clock(born.run_at)}, asked for at {clock(call.invoked)} and made at {clock(born.at)}"
            yield Violation(OTHER_TIME, f"{of} is due {at}, with a delay of {options.delay_seconds:g} s")


def _is_asked(call: Call, row: Row) -> bool:
    """Whether the call has a task in this place; -1 is the last of a group, its `then`."""
    return 0 <= row.place < len(call.asked) or (row.place == -1 and call.verb == "group" and bool(call.asked))
