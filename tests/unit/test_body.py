"""Any body at all: read as it was sent, or refused with a ProblemError, and nothing else."""

import asyncio
import gc
import json
import time
from collections.abc import Iterator
from math import isfinite
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from app.api import body
from app.api.body import parse, read_body
from app.api.errors import MOST_ERRORS, ProblemError
from app.api.new_task_schemas import NewTaskBody
from app.api.schemas import to_json
from app.core.storable import DEEPEST, unstorable

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()) | st.sampled_from('\0\\"/\ud800\udc00\u2028'))
ANY_NUMBER = (
    st.integers()
    | st.integers(2**53 - 2, 2**53 + 2)
    | st.integers(-(2**53) - 2, -(2**53) + 2)
    | st.integers(0, 400).map(lambda digits: 10**digits)
    | st.floats()
)
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | ANY_TEXT,
    lambda children: st.lists(children, max_size=5) | st.dictionaries(ANY_TEXT, children, max_size=5),
    max_leaves=20,
)


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_body_that_does_not_come_is_408(monkeypatch: pytest.MonkeyPatch, *, has_begun: bool) -> None:
    """A client may be slow; one that only holds the connection is let go."""
    monkeypatch.setattr(body, "BODY_SECONDS", 0.05)
    messages: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}] if has_begun else []

    async def receive() -> Message:
        return messages.pop() if messages else await asyncio.Future()

    with pytest.raises(ProblemError) as refused:
        await read_body({"headers": [(b"content-type", b"application/json")]}, receive, 1_000)
    assert refused.value.status == 408


@given(ANY_JSON, st.booleans())
@example([float("nan")], True)
@settings(max_examples=500, derandomize=True)
def test_any_json_value_comes_back_or_is_refused(value: Any, ensure_ascii: bool) -> None:  # noqa: FBT001 - hypothesis passes it
    """By an oracle of its own: Python's reader, and RFC 7493 in six lines."""
    text = json.dumps({"content": value}, ensure_ascii=ensure_ascii)
    content = json.loads(text)["content"]
    body = _try(text.encode("utf-8", "surrogatepass"))
    assert (body is not None) == all(_fits(part) for part in _parts(content))
    assert body is None or json.dumps(json.loads(to_json(body.content))) == json.dumps(content)


@given(st.binary() | st.binary().map(lambda noise: b'{"content": "' + noise + b'"}'))
@settings(max_examples=500, derandomize=True)
def test_any_bytes_are_a_task_or_a_problem(body: bytes) -> None:
    """Whatever the bytes are."""
    _try(body)


@given(ANY_JSON, st.data())
@settings(max_examples=500, derandomize=True)
def test_json_with_a_flaw_is_a_task_or_a_problem(value: Any, data: st.DataObject) -> None:
    """A byte of good JSON changed, dropped or doubled."""
    body = json.dumps({"content": value}).encode()
    at = data.draw(st.integers(0, len(body) - 1))
    middle = data.draw(st.binary(max_size=2))
    _try(body[:at] + middle + body[at + 1 :])


@given(ANY_JSON)
@settings(max_examples=300, derandomize=True)
def test_any_json_in_place_of_a_task_is_a_problem(value: Any) -> None:
    """Of whatever shape, in whatever field."""
    for document in (value, {"content": 1, "kind": value}, {"content": 1, "other": value}):
        _try(json.dumps(document).encode())


def test_depth_does_not_multiply_the_cost_of_width() -> None:
    """A path is spelled out only for what is wrong; to carry one to each value let 1 MiB block the process for 3 s."""
    flat: Any = {"content": [1] * 50_000}
    deep: Any = flat["content"]
    for _ in range(DEEPEST - 2):
        deep = [deep]
    assert _cost({"content": deep}) < 3 * _cost(flat)


def test_a_flaw_is_found_in_the_deepest_place() -> None:
    """With its whole path; one level more is refused as a whole."""
    deep: Any = float("nan")
    for _ in range(DEEPEST):
        deep = [deep]
    assert [path for path, _ in unstorable({"content": deep})] == [("content", *[0] * DEEPEST)]
    assert [path for path, _ in unstorable({"content": [deep]})] == [("content", 0, 0)]


def test_no_more_is_found_than_is_answered() -> None:
    """The search stops with the tenth flaw."""
    with pytest.raises(ProblemError) as caught:
        parse(NewTaskBody, b'{"content": [' + b",".join([b"NaN"] * 1_000) + b"]}")
    assert len(caught.value.errors) == MOST_ERRORS


async def test_a_body_in_parts_is_put_together() -> None:
    """As chunks come from the network, empty ones included."""
    assert await read_body(_scope(), _receive(b"ab", b"", b"c", b""), limit=3) == b"abc"


async def test_a_body_is_counted_as_it_comes() -> None:
    """It is refused at the first part over the limit; the parts after that are not asked for."""
    parts = iter([b"ab", b"cd", b"never"])
    with pytest.raises(ProblemError) as caught:
        await read_body(_scope(), _receive(*parts), limit=3)
    assert caught.value.status == 413


async def test_an_announced_length_over_the_limit_is_refused_unread() -> None:
    """Before anything is received."""
    with pytest.raises(ProblemError) as caught:
        await read_body(_scope((b"content-length", b"4")), _no_more, limit=3)
    assert caught.value.status == 413


async def test_a_client_that_goes_is_no_body() -> None:
    """What it had sent so far is not taken for all of it."""
    with pytest.raises(ClientDisconnect):
        await read_body(_scope(), _receive(b'{"content": 1}', disconnect=True), limit=100)


def _try(body: bytes) -> NewTaskBody | None:
    try:
        return parse(NewTaskBody, body)
    except ProblemError as error:
        if error.status not in {400, 422}:
            raise
        return None


def _cost(document: Any) -> float:
    times = []
    gc.collect()
    gc.disable()  # what a collection costs depends on all that pytest has loaded
    try:
        for _ in range(5):
            start = time.process_time()
            assert not list(unstorable(document))
            times.append(time.process_time() - start)
    finally:
        gc.enable()
    return min(times)


def _parts(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        yield from value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(child)


def _fits(value: Any) -> bool:
    match value:
        case str():
            return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)
        case int():
            return abs(value) < 2**53
        case float():
            return isfinite(value)
        case _:
            return True


def _scope(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "headers": [(b"content-type", b"application/json"), *headers]}


def _receive(*parts: bytes, disconnect: bool = False) -> Receive:
    messages: Iterator[Message] = iter(
        {"type": "http.request", "body": part, "more_body": disconnect or at < len(parts)}
        for at, part in enumerate(parts, 1)
    )

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    return receive


async def _no_more() -> Message:
    raise AssertionError("nothing is to be received")
