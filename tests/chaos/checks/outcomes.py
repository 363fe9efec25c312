"""I4, seen from the work: what becomes of a task is what the run of its claim came to, and nobody else's.

A write that is fenced by status alone looks like any other among the transitions: its handler's notes give it away.
"""

from collections.abc import Iterator, Sequence

from tests.chaos.checks.index import Index, Row, Violation, clock, said
from tests.chaos.handlers import HANDLERS
from tests.chaos.history import Run, Transition

STALE, NO_END, UNLIKE = "stale finish", "ended without its run", "not what its handler did"
GIVEN_AWAY, GIVEN_UP = "given back while its handler ran", "failed with attempts left"
USED_UP = "tried again with no attempts left"

_MOST_ATTEMPTS = {handler.kind: handler.max_attempts for handler in HANDLERS}
# How the run may have ended, by what became of its task; a cancel does not ask.
_ALLOWED = {"completed": {"done"}, "failed": {"failed", "retry", "raised"}, "pending": {"retry", "raised"}}
_CLOCK_SECONDS = 0.005  # by which a note may seem to come after what followed it
# The one end that no handler notes: that of its child process. No task here has a limit of time.
_DIED = "The handler's process died"


def outcomes(index: Index) -> Iterator[Violation]:
    """Whatever takes a task out of `processing` follows from how the run of that claim has ended."""
    for task, chain in index.chains.items():
        row = index.rows.get(task)
        if row is None or row.kind not in _MOST_ATTEMPTS:
            continue
        claims = {change.claim for change in chain if change.claim}
        attempt = lost = 0
        for change in chain:
            if change.old == "processing" and change.lost_count == lost:
                yield from _judge(row, change, index.runs.get(change.old_claim, ()), claims - {change.old_claim})
                is_retry = change.new == "pending" and change.claim and change.attempt == attempt
                if is_retry and attempt - lost >= _most(row):
                    yield Violation(USED_UP, f"{said(change)}, of {_most(row)} attempts at most")
            attempt, lost = change.attempt, change.lost_count


def last_words(index: Index) -> Iterator[Violation]:
    """The result or error in an ended row is that of the claim under which it ended."""
    for row in index.rows.values():
        chain = index.chains.get(row.id)
        if row.kind not in _MOST_ATTEMPTS or not chain:
            continue
        shown, last = f"task {row.id} ({row.kind}) {row.status} under claim {row.claim}", chain[-1]
        if row.status == "completed" and row.result != {"claim": row.claim}:
            by = row.result.get("claim") if isinstance(row.result, dict) else None
            yield Violation(UNLIKE if by in {None, row.claim} else STALE, f"{shown} with the result {row.result}")
        elif row.status == "failed":
            told = row.error.get("code"), row.error.get("message"), row.error.get("attempt")
            if told != (last.error_code, last.message, row.attempt) or not row.error.get("code"):
                is_stale = row.error.get("attempt", row.attempt) != row.attempt
                yield Violation(STALE if is_stale else UNLIKE, f"{shown} in attempt {row.attempt}: {row.error}")


def _judge(row: Row, change: Transition, notes: Sequence[Run], others: set[str]) -> Iterator[Violation]:
    """Of a change that is no recovery. `others`: the claims that the task has had besides."""
    started = any(note.phase == "start" and note.at <= change.at for note in notes)
    ends = {note.phase for note in notes if note.phase != "start" and note.at <= change.at + _CLOCK_SECONDS}
    if change.new == "pending" and not change.claim:
        if started and not ends and not row.is_unruly:
            yield Violation(GIVEN_AWAY, _words(change, notes))
    elif change.new in _ALLOWED and (started or not _is_put_off(row, change)):
        if change.new == "failed" and "failed" not in ends and change.attempt - change.lost_count < _most(row):
            yield Violation(GIVEN_UP, _words(change, notes))
        rule = _compare(row, change, ends, others)
        if rule:
            yield Violation(rule, _words(change, notes))


def _compare(row: Row, change: Transition, ends: set[str], others: set[str]) -> str:
    """The rule that is broken; "" for none."""
    if any(claim in change.message for claim in others):
        return STALE
    if ends & _ALLOWED[change.new]:
        is_own = bool(ends & {"raised", "done"}) or change.old_claim in change.message
        return "" if is_own else UNLIKE
    if row.is_in_child and change.message.startswith(_DIED):
        return ""
    return UNLIKE if ends else NO_END


def _words(change: Transition, notes: Sequence[Run]) -> str:
    return f"{said(change)}, {change.error_code or '-'} {change.message!r}; its run: {_shown(notes)}"


def _most(row: Row) -> int:
    return row.max_attempts or _MOST_ATTEMPTS[row.kind]


def _is_put_off(row: Row, change: Transition) -> bool:
    """Since no child process could be started."""
    return change.new == "pending" and row.is_in_child


def _shown(notes: Sequence[Run]) -> str:
    return ", ".join(f"{note.phase} {clock(note.at)} by {note.pid}" for note in notes) or "none"
