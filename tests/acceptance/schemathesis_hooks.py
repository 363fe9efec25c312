"""What Schemathesis must know of the service that its description can't say."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from app.api.batch_schemas import MOST_ITEMS
from app.core.errors import InvalidScheduleError
from app.core.recurrence import Recurrence, zones
from app.core.storable import LARGEST_INTEGER

_FIELD = st.sampled_from(["*", "*/5", "1", "2,3", "1-4", "7"])


def _is_ever(cron: str) -> bool:
    try:
        Recurrence(cron, "UTC")
    except InvalidScheduleError:
        return False
    return True


# Formats that JSON Schema does not know. Without these, any text would count as a good expression, or a good zone.
schemathesis.openapi.format("cron", st.tuples(*[_FIELD] * 5).map(" ".join).filter(_is_ever))
schemathesis.openapi.format("timezone", st.sampled_from(sorted(zones())))

NDJSON = "application/x-ndjson"
INTEGERS = ("max_attempts", "concurrency_limit")


@schemathesis.hook
def filter_body(_: schemathesis.HookContext, body: Any) -> bool:
    """No integers beyond ±(2^53 - 1): they are refused, but to JSON Schema they are the floats that are taken.

    And no 1.0 where an integer is asked for: it is refused, but to JSON Schema it is one.

    They have tests of their own in test_bad_input.py.
    """
    stack = [body]
    while stack:
        match stack.pop():
            case int(number) if abs(number) > LARGEST_INTEGER:
                return False
            case dict(children):
                if any(isinstance(children.get(name), float) for name in INTEGERS):
                    return False
                stack.extend(children.values())
            case list(children):
                stack.extend(children)
    return True


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: "schemathesis.Case[Any]") -> bool:
    """No tasks of the kind `http`, which is particular about its content: the description leaves that to the kind.

    No wrong items in a batch: they are answered each in its place, and the batch is not refused. No lines that are no
    text. They have tests of their own in test_http_kind.py, test_batch.py and test_lines.py.
    """
    if case.media_type == NDJSON:
        return isinstance(case.body, str)
    is_batch = case.path == "/task/batch" and isinstance(case.body, list) and 1 <= len(case.body) <= MOST_ITEMS
    if is_batch and (case.meta is None or case.meta.generation.mode != schemathesis.GenerationMode.POSITIVE):
        return False
    return not _has_http(case.body)


@schemathesis.serializer(NDJSON)
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """As they are."""
    return str(value).encode()


def _has_http(body: Any) -> bool:
    match body:
        case {"kind": "http"}:
            return True
        case dict():
            return any(map(_has_http, body.values()))
        case list():
            return any(map(_has_http, body))
        case _:
            return False
