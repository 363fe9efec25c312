"""What Schemathesis must know of the service that its description can't say."""

from contextlib import suppress
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

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
schemathesis.openapi.format("uri", st.sampled_from(["https://example.com/hook", "http://a.example:8080/?b=%20"]))
schemathesis.openapi.format("timezone", st.sampled_from(sorted(zones())))

NAMES = ("task", "group")
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
def before_call(_: schemathesis.HookContext, case: "schemathesis.Case[Any]", __: dict[str, Any]) -> None:
    """What is watched or waited for has ended: here no consumer runs, so that it would go on for ever."""
    path = case.operation.path
    if case.method == "GET" and path in {f"/{name}/{{{name}_id}}{end}" for name in NAMES for end in ("", "/events")}:
        url = f"{case.operation.base_url.rstrip('/')}{case.formatted_path.removesuffix('/events')}/cancel"
        with suppress(HTTPError):  # there is none, or it has ended
            urlopen(Request(url, method="PATCH"))  # noqa: S310 - the service under test


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: "schemathesis.Case[Any]") -> bool:
    """No tasks of the kind `http`, which is particular about its content: the description leaves that to the kind.

    They have tests of their own in test_http_kind.py. And no cursors, since none that is made up is one; and nothing to
    do to many tasks that can be done to none of them: test_lists.py. No wrong items in a batch: they are answered each
    in its place, and the batch is not refused; no lines that are no text: test_batch.py and test_lines.py.
    """
    if case.media_type == NDJSON:
        return isinstance(case.body, str)
    is_batch = case.path == "/task/batch" and isinstance(case.body, list) and 1 <= len(case.body) <= MOST_ITEMS
    if is_batch and (case.meta is None or case.meta.generation.mode != schemathesis.GenerationMode.POSITIVE):
        return False
    return not _has_http(case.body) and not _has_cursor(case.query) and not _is_for_none(case.body)


@schemathesis.serializer(NDJSON)
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """As they are."""
    return str(value).encode()


@schemathesis.hook
def before_add_examples(_: schemathesis.HookContext, examples: "list[schemathesis.Case[Any]]") -> None:
    """The example of a cursor shows what one looks like; it is none of this service's."""
    for case in examples:
        if _has_cursor(case.query):
            del case.query["cursor"]


def _has_cursor(query: Any) -> bool:
    return bool(query) and "cursor" in query


def _is_for_none(body: Any) -> bool:
    match body:
        case {"action": "cancel", "filter": {"status": [*statuses]}}:
            return not {"pending", "processing"}.intersection(map(str, statuses))
        case {"action": "retry", "filter": {"status": [*statuses]}}:
            return "failed" not in statuses
        case _:
            return False


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
