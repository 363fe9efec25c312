"""Creates, as for a total queue: what was acknowledged is there once, and what nobody asked for is not."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.checks.index import Index, Row, Violation, clock
from tests.chaos.history import Call, Outcome

LOST, UNEXPECTED, DUPLICATED, SILENT = "lost", "unexpected", "duplicated", "schedule without ticks"
TICK_SECONDS = 60.0  # of all schedules here
LONGEST_TICK_SECONDS = 1.5 * TICK_SECONDS  # from one to the next: none is left out, whatever is injected
SCHEDULES = ("put_schedule", "schedule")
CREATES = ("create", "batch", "group")


@dataclass(slots=True)
class Creates:
    """Every intent (by its marker) with its calls, and what came of it."""

    attempted: int = 0  # intents
    acknowledged: int = 0  # tasks, and the rest as well
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    recovered: int = 0  # of intents of which no client ever learned the outcome

    def violations(self) -> Iterator[Violation]:
        """All that should not have been."""
        for rule, found in ((LOST, self.lost), (UNEXPECTED, self.unexpected), (DUPLICATED, self.duplicated)):
            for evidence in found:
                yield Violation(rule, evidence)


def creates(index: Index) -> Iterator[Violation]:
    """I1 and Idempotency-Keys."""
    return count_creates(index).violations()


def ticks(index: Index) -> Iterator[Violation]:
    """An acknowledged schedule makes a task each minute, until it is deleted."""
    made: dict[str, list[float]] = defaultdict(list)
    for row in index.rows.values():
        if row.run_at % TICK_SECONDS == 0:
            made[row.marker].append(row.run_at)
    ended = {call.marker: call.invoked for call in index.calls["delete_schedule"]}
    for call in index.acknowledged("put_schedule"):
        times = [call.ended, *sorted(made[call.marker]), ended.get(call.marker, index.now)]
        for before, after in pairwise(times):
            if after - before > LONGEST_TICK_SECONDS:
                yield Violation(SILENT, f"{call.marker} from {clock(before)} to {clock(after)}")


def count_creates(index: Index) -> Creates:
    """Compare what was asked for with what there is."""
    found = Creates()
    intents: dict[str, list[Call]] = defaultdict(list)
    for verb in CREATES:
        for call in index.calls[verb]:
            intents[call.marker].append(call)
    made: dict[str, list[Row]] = defaultdict(list)
    for row in index.rows.values():
        made[row.marker].append(row)
    unborn = {str(group["then_id"]) for group in index.groups.values() if not group["ended_at"] or group["canceled_at"]}
    found.attempted = len(intents)
    for marker, calls in intents.items():
        _judge(found, index, unborn, marker, calls, made.pop(marker, []))
    for call in index.acknowledged("schedule"):
        found.acknowledged += len(call.ids)
        found.lost += [_lost(task, call) for task in call.ids if task not in index.rows]
    scheduled = {call.marker for verb in SCHEDULES for call in index.calls[verb]}
    for marker, rows in made.items():
        if marker in scheduled:
            _judge_ticks(found, marker, rows)
        else:
            found.unexpected += [_shown(row) for row in rows if not _is_ours(index, row)]
    return found


def _judge(found: Creates, index: Index, unborn: set[str], marker: str, calls: list[Call], rows: list[Row]) -> None:
    answers = {call.ids: call for call in calls if call.outcome is Outcome.OK}
    # What an unknown stream of lines had answered before it broke off is known as well.
    known = {task: call for call in calls for task in call.ids}
    found.acknowledged += len(known)
    if len(answers) > 1:
        found.duplicated.append(f"intent {marker}: {len(answers)} answers, {' and '.join(map(str, answers))}")
    for task, call in known.items():
        if task not in index.rows and task not in unborn:
            found.lost.append(_lost(task, call))
    found.lost += [
        f"intent {marker}: asked for {len(call.asked) or 1}, answered with {call.ids}"
        for call in answers.values()
        if len(call.ids) != (len(call.asked) or 1)
    ]
    places: dict[object, Row] = {}
    for row in rows:
        place = row.content.get("index", 0)
        if place in places:
            found.duplicated.append(f"intent {marker} [{place}]: tasks {places[place].id} and {row.id}")
        elif answers and row.id not in known:
            found.unexpected.append(f"{_shown(row)}, not among what was answered")
        elif all(call.outcome is Outcome.FAIL for call in calls):
            found.unexpected.append(f"{_shown(row)}, refused with {calls[0].code} at {clock(calls[0].ended)}")
        places[place] = row
    found.unexpected += _of_other_kinds(calls[0].asked, places)
    if not answers:
        found.recovered += sum(row.id not in known for row in rows)


def _of_other_kinds(asked: Sequence[str], places: Mapping[object, Row]) -> Iterator[str]:
    """What is not of the kind that was asked for in its place; -1 is the last, a `then`."""
    for place, row in places.items():
        kind = asked[place] if isinstance(place, int) and -1 <= place < len(asked) else "nothing"
        if asked and row.kind != kind:
            yield f"{_shown(row)}, and {kind} was asked for"


def _judge_ticks(found: Creates, name: str, rows: list[Row]) -> None:
    """A tick's task is due at the tick, a whole minute; what a client has run is not, but for one in 60 million."""
    ticks: dict[float, Row] = {}
    for row in rows:
        if row.run_at % TICK_SECONDS == 0 and row.run_at in ticks:
            found.duplicated.append(f"schedule {name}, tick {clock(row.run_at)}: {ticks[row.run_at].id} and {row.id}")
        ticks[row.run_at] = row


def _is_ours(index: Index, row: Row) -> bool:
    """Whether Taskmill makes it by itself: the telling of an end, or of what another task has spawned."""
    return bool(row.callback_of) and (row.callback_of in index.rows or row.callback_of in index.groups)


def _lost(task: str, call: Call) -> str:
    return f"task {task}, acknowledged by {call.verb} {call.code} at {clock(call.ended)} ({call.marker})"


def _shown(row: Row) -> str:
    return f"task {row.id} ({row.kind}, {row.marker or 'no marker'}) is {row.status}"
