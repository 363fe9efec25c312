"""Creates, as for a total queue: what was acknowledged is there once, and what nobody asked for is not."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.checks.index import Index, Row, Violation, clock
from tests.chaos.checks.ticks import SCHEDULES, TICK_SECONDS
from tests.chaos.history import Call, Outcome

LOST, UNEXPECTED, DUPLICATED = "lost", "unexpected", "duplicated"


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


def count_creates(index: Index) -> Creates:
    """Compare what was asked for with what there is."""
    found = Creates()
    made: dict[str, list[Row]] = defaultdict(list)
    for row in index.rows.values():
        made[row.marker].append(row)
    found.attempted = len(index.intents)
    for marker, calls in index.intents.items():
        _judge(found, index, marker, calls, made.pop(marker, []))
    for call in index.acknowledged("schedule"):
        found.acknowledged += len(call.ids)
        found.lost += [_lost(task, call) for task in call.ids if index.marker_of(task) != call.marker]
    scheduled = {call.marker for verb in SCHEDULES for call in index.calls[verb]}
    by_hand = Counter(call.marker for call in index.calls["schedule"] if call.outcome is not Outcome.FAIL)
    for marker, rows in made.items():
        if marker in scheduled:
            _judge_ticks(found, marker, rows, by_hand[marker])
        else:
            found.unexpected += [_shown(row) for row in rows if not _is_ours(index, row)]
    return found


def _judge(found: Creates, index: Index, marker: str, calls: list[Call], rows: list[Row]) -> None:
    answers = {call.ids: call for call in calls if call.outcome is Outcome.OK}
    # What an unknown stream of lines had answered before it broke off is known as well.
    known = {task for call in calls for task in call.ids}
    found.acknowledged += len(known)
    if len(answers) > 1:
        found.duplicated.append(f"intent {marker}: {len(answers)} answers, {' and '.join(map(str, answers))}")
    for call in {(call.outcome, call.ids): call for call in calls if call.outcome is not Outcome.FAIL}.values():
        found.lost += _missing(index, call)
    places: dict[int, Row] = {}
    for row in rows:
        place = row.place
        if place in places:
            found.duplicated.append(f"intent {marker} [{place}]: tasks {places[place].id} and {row.id}")
        elif answers and row.id not in known:
            found.unexpected.append(f"{_shown(row)}, not among what was answered")
        elif all(call.outcome is Outcome.FAIL for call in calls):
            found.unexpected.append(f"{_shown(row)}, refused with {calls[0].code} at {clock(calls[0].ended)}")
        places[place] = row
    if not answers:
        found.recovered += sum(row.id not in known for row in rows)


def _missing(index: Index, call: Call) -> Iterator[str]:
    """What a call was answered with, and is not there: each id is that of this intent's own task, and in its place.

    In a whole answer there are as many as were asked for. In a stream that broke off the tasks of some lines may be
    missing, and the others are in their order.
    """
    asked, is_whole = len(call.asked) or 1, call.outcome is Outcome.OK
    if is_whole and len(call.ids) != asked:
        yield f"intent {call.marker}: asked for {asked}, answered with {call.ids}"
    group = index.groups.get(call.group)
    last = -1
    for number, task in enumerate(call.ids):
        is_then = call.verb == "group" and number == asked - 1
        place = -1 if is_then else number
        row = index.rows.get(task)
        if is_then and group is not None and str(group["then_id"]) != task:
            yield f"{_lost(task, call)}, and group {call.group} has {group['then_id']} for its `then`"
        elif row is None:
            if not (is_then and group is not None and _is_unborn(group)):
                yield _lost(task, call)
        elif row.marker != call.marker or (group is not None and not is_then and row.group != call.group):
            yield f"{_lost(task, call)}: {_shown(row)}, of group {row.group or '-'}"
        elif (row.place != place) if is_whole else (row.place <= last):
            yield f"{_lost(task, call)} as number {number}: it is number {row.place}"
        else:
            last = row.place


def _is_unborn(group: Mapping[str, Any]) -> bool:
    """Whether a group's `then` is not there, or not yet."""
    return not group["ended_at"] or bool(group["canceled_at"])


def _judge_ticks(found: Creates, name: str, rows: list[Row], asked: int) -> None:
    """A tick's task is due at the tick, a whole minute; what a client has run is not, but for one in 60 million.

    Of those there are at most as many as clients have asked for.
    """
    ticks: dict[float, Row] = {}
    others = 0
    for row in rows:
        if row.run_at % TICK_SECONDS:
            others += 1
        elif row.run_at in ticks:
            found.duplicated.append(f"schedule {name}, tick {clock(row.run_at)}: {ticks[row.run_at].id} and {row.id}")
        else:
            ticks[row.run_at] = row
    if others > asked:
        found.duplicated.append(f"schedule {name}: {others} tasks between ticks, and {asked} were asked for")


def _is_ours(index: Index, row: Row) -> bool:
    """Whether Taskmill makes it by itself: the telling of an end, or of what another task has spawned."""
    return bool(row.callback_of) and (row.callback_of in index.rows or row.callback_of in index.groups)


def _lost(task: str, call: Call) -> str:
    return f"task {task}, acknowledged by {call.verb} {call.code} at {clock(call.ended)} ({call.marker})"


def _shown(row: Row) -> str:
    return f"task {row.id} ({row.kind}, {row.marker or 'no marker'}) is {row.status}"
