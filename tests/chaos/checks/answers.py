"""Answers: everybody is told in time what has become of his call, unless something that it needs is broken."""

from collections.abc import Iterator
from http import HTTPStatus

from tests.chaos import lateness
from tests.chaos.checks.index import Index, Violation, clock
from tests.chaos.checks.times import Times
from tests.chaos.history import Call, Injected, Outcome
from tests.chaos.probe import ANSWER_SECONDS, BACK_SECONDS

UNCERTAIN, LATE = "no certain answer", "answered late"
WAIT_SECONDS = 2.0  # that a read may ask for

# What else is broken, as Redis and consumers are, is no client's concern. To shift a clock, APIs are told to stop.
_NEEDED = frozenset(
    {"postgres-crash", "disk-full", "no-connections", "kill-api", "terminate-api", "clock", lateness.LATE}
)
_LINKS = frozenset({"client-api", "api-postgres"})


def answers(index: Index) -> Iterator[Violation]:
    """Each call is answered by what has happened, or by a refusal, and soon; 429 is one: it was too much at a time."""
    broken = Times((each.begun, each.ended + BACK_SECONDS) for each in index.history.injected if _is_felt(each))
    for call in index.history.calls:
        seconds = call.ended - call.invoked
        is_late = seconds > ANSWER_SECONDS + (WAIT_SECONDS if call.verb == "read" else 0)
        is_uncertain = call.outcome is Outcome.UNKNOWN and call.code != HTTPStatus.TOO_MANY_REQUESTS
        if (is_late or is_uncertain) and not broken.touch(call.invoked, call.ended):
            yield Violation(LATE if is_late else UNCERTAIN, _said(call, seconds))


def _is_felt(fault: Injected) -> bool:
    """Whether it stands between a client and what it is told."""
    targets = fault.target.split(", ")
    is_api_frozen = fault.fault == "freeze" and any(name.isdigit() for name in targets)  # consumers go by their ids
    return fault.fault in _NEEDED or is_api_frozen or not _LINKS.isdisjoint(targets)


def _said(call: Call, seconds: float) -> str:
    of = call.marker or call.group or ", ".join(call.ids)
    return f"{call.verb} of {of} at {clock(call.invoked)}: {call.code or 'no answer'} after {seconds:.1f} s"
