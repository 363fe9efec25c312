"""What holds a task back, in words, and the JSON of a WhyView."""

from typing import Any, assert_never

from app.api.json_text import instant
from app.api.schemas import to_json
from app.core.caller import Caller
from app.core.why import MOST_COUNTED, Place, Reason, Why


def render_why(why: Why, queue: str, caller: Caller) -> bytes:
    """The JSON of a WhyView, as far as the caller may see."""
    task, place = why.task, why.place
    seconds = why.seconds if why.reason is Reason.IN_LINE else None
    if why.reason in {Reason.LATER, Reason.RETRY}:
        seconds = (task.run_at - why.at).total_seconds()
    counted = [why.ahead or 0, 0 if place is None else place.ahead]
    view: dict[str, Any] = {
        "task_id": str(task.id),
        "status": task.status,
        "reason": why.reason,
        "message": _words(why, queue),
        "at": instant(why.at),
        "queue": queue,
        "run_at": instant(task.run_at),
        "seconds": None if seconds is None else round(seconds, 3),
        "ahead": None if why.ahead is None else min(why.ahead, MOST_COUNTED),
        "ahead_is_more": max(counted) > MOST_COUNTED,
        "consumer": None
        if why.consumer is None
        else {"id": str(why.consumer.id), "host": why.consumer.host, "pid": why.consumer.pid},
        "paused_at": instant(why.paused_at),
        "concurrency": None if place is None else _place(place, caller),
    }
    return to_json(view).encode()


def _place(place: Place, caller: Caller) -> dict[str, Any]:
    return {
        "key": place.key,
        "limit": place.limit,
        "held": place.held,
        "held_by": [str(task_id) for task_id, tenant in place.held_by if caller.sees(tenant)],
        "ahead": min(place.ahead, MOST_COUNTED),
    }


def _words(why: Why, queue: str) -> str:  # noqa: C901, PLR0911 - one case a reason
    match why.reason:
        case Reason.ENDED:
            return f"It has ended: it is {why.task.status}."
        case Reason.RUNNING:
            host = "a consumer that is gone" if why.consumer is None else why.consumer.host
            since = "" if why.task.started_at is None else f" since {instant(why.task.started_at)}"
            return f"It is running, on {host}{since}."
        case Reason.RETRY:
            return f"Attempt {why.task.attempt} has failed; the next is due at {instant(why.task.run_at)}."
        case Reason.LATER:
            return f"It is due at {instant(why.task.run_at)}."
        case Reason.PAUSED:
            return f"Its queue, {queue!r}, is paused."
        case Reason.NO_CONSUMER:
            return f"No consumer that is alive serves its kind, {why.task.kind!r}."
        case Reason.LIMIT:
            assert why.place is not None
            held, ahead = _number(why.place.held), _number(why.place.ahead)
            return f"Places of its concurrency key: {why.place.limit}; taken: {held}; tasks before it: {ahead}."
        case Reason.QUARANTINE:
            return "It was lost with its consumer twice, and waits to run alone."
        case Reason.IN_LINE:
            assert why.ahead is not None
            if not why.ahead:
                return "It is the next of its queue: it starts as soon as a consumer has a free slot."
            return f"Tasks of its queue that are before it: {_number(why.ahead)}."
        case _:
            assert_never(why.reason)


def _number(counted: int) -> str:
    return f"more than {MOST_COUNTED}" if counted > MOST_COUNTED else str(counted)
