"""Bodies that are refused: each with the right 4xx, a pointer to the field, no echo, and no row."""

import json
from typing import Any

import pytest

from tests.support.refusals import MARKER, Refusals

NOT_JSON = {
    "empty": b"",
    "only white space": b" \r\n\t ",
    "truncated string": b'{"content": "S3CRET',
    "truncated object": b'{"content": "S3CRET"',
    "something after it": b'{"content": "S3CRET"} S3CRET',
    "two documents": b'{"content": "S3CRET"}{"content": "S3CRET"}',
    "single quotes": b"{'content': 'S3CRET'}",
    "trailing comma": b'{"content": "S3CRET",}',
    "comment": b'{"content": "S3CRET"} // S3CRET',
    "form": b"content=S3CRET",
    "leading zero": b'{"content": 01}',
    "no digits after the point": b'{"content": 1.}',
    "integer of 5,000 digits": b'{"content": ' + b"1" * 5_000 + b"}",
    "fraction after 5,000 digits": b'{"content": ' + b"1" * 5_000 + b".5}",
    "bare control character": b'{"content": "S3CRET\x01"}',
    "bare NUL": b'{"content": "S3CRET\x00"}',
    "NUL after the document": b'{"content": "S3CRET"}\x00',
    "invalid UTF-8": b'{"content": "S3CRET\xff"}',
    "invalid UTF-8 in a name": b'{"content": {"S3CRET\xff": 1}}',
    "overlong UTF-8": b'{"content": "S3CRET\xc0\x80"}',
    "truncated UTF-8": b'{"content": "S3CRET\xf0\x9f\x98"}',
    "surrogate in UTF-8": b'{"content": "S3CRET\xed\xa0\x80"}',
    "beyond Unicode": b'{"content": "S3CRET\xf4\x90\x80\x80"}',
    "Latin-1": '{"content": "S3CRET é"}'.encode("latin-1"),
    "UTF-16 with BOM": '{"content": "S3CRET"}'.encode("utf-16"),
    "UTF-16 little-endian": '{"content": "S3CRET"}'.encode("utf-16-le"),
    "UTF-16 big-endian": '{"content": "S3CRET"}'.encode("utf-16-be"),
    "UTF-32": '{"content": "S3CRET"}'.encode("utf-32"),
    "UTF-8 with BOM": '{"content": "S3CRET"}'.encode("utf-8-sig"),
    "lone high surrogate": rb'{"content": "S3CRET\ud800"}',
    "lone low surrogate": rb'{"content": "S3CRET\udfff"}',
    "surrogates the wrong way round": rb'{"content": "\ude00\ud83d"}',
    "high surrogate before a letter": rb'{"content": "\ud83dS3CRET"}',
    "lone surrogate in a name": rb'{"content": {"\ud800": "S3CRET"}}',
    "lone surrogate in a nested name": rb'{"content": [{"a": {"\udc00": "S3CRET"}}]}',
    "lone surrogate in kind": rb'{"content": 1, "kind": "\ud800"}',
    "100,000 arrays": b'{"content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects": b'{"content": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "100,000 arrays that never end": b"[" * 100_000,
}

# What cannot be kept: where it is, and where the answer points.
UNSTORABLE = {
    "NaN": ("NaN", "/content"),
    "Infinity": ("Infinity", "/content"),
    "-Infinity": ("-Infinity", "/content"),
    "1e999": ("1e999", "/content"),
    "-1e999": ("-1e999", "/content"),
    "1E+400": ("1.5E+400", "/content"),
    "exponent of 5,000 digits": ("1e" + "1" * 5_000, "/content"),
    "just over the largest double": ("1.7976931348623159e308", "/content"),
    "nested NaN": ('{"a": ["S3CRET", {"b": NaN}]}', "/content/a/1/b"),
    "nested 1e999": ('{"a": ["S3CRET", 1e999]}', "/content/a/1"),
    "2^53": (str(2**53), "/content"),
    "-2^53": (str(-(2**53)), "/content"),
    "400 digits": ("1" * 400, "/content"),
    "nested 2^53": (f'{{"a": [0, {2**53}]}}', "/content/a/1"),
    "NUL": (r'"S3CRET\u0000"', "/content"),
    "NUL after an escaped backslash": (r'"\\\u0000"', "/content"),
    "nested NUL": (r'[["S3CRET\u0000"]]', "/content/0/0"),
    "NUL in a name": (r'{"S3CRET\u0000": 1}', "/content"),
    "NUL in a nested name": (r'{"a": [{"S3CRET\u0000": 1}]}', "/content/a/0"),
    "odd names": (r'{"a/b": {"m~n": "\u0000"}}', "/content/a~1b/m~0n"),
    "65 arrays": ("[" * 65 + '"S3CRET"' + "]" * 65, "/content/0/0"),
    "65 objects": ('{"a":' * 65 + "1" + "}" * 65, "/content/a/a"),
}

# Bodies of the wrong shape, and where the answer points.
WRONG_SHAPE: dict[str, tuple[Any, str]] = {
    "array": ([MARKER], ""),
    "null": (None, ""),
    "string": (MARKER, ""),
    "number": (1, ""),
    "true": (True, ""),
    "no content": ({}, "/content"),
    "unknown field": ({"content": 1, "priority_": MARKER}, "/priority_"),
    "field in capitals": ({"content": 1, "Kind": MARKER}, "/Kind"),
    "very long field": ({"content": 1, "n" * 100_000: MARKER}, "/" + "n" * 64),
    "field with odd characters": ({"content": 1, "a/b~c": MARKER}, "/a~1b~0c"),
    "field with NUL": ({"content": 1, "a\0": MARKER}, "/a\0"),
    "kind is a number": ({"content": 1, "kind": 1}, "/kind"),
    "kind is a list": ({"content": 1, "kind": [MARKER]}, "/kind"),
    "kind is an object": ({"content": 1, "kind": {"a": MARKER}}, "/kind"),
    "kind is false": ({"content": 1, "kind": False}, "/kind"),
    "kind is unknown": ({"content": 1, "kind": MARKER}, "/kind"),
    "kind is empty": ({"content": 1, "kind": ""}, "/kind"),
    "kind in capitals": ({"content": 1, "kind": "Simulate"}, "/kind"),
    "kind has a NUL": ({"content": 1, "kind": "simulate\0"}, "/kind"),
    "kind is very long": ({"content": 1, "kind": MARKER * 10_000}, "/kind"),
}

# The options of a task, and values that they do not take.
WRONG_OPTIONS: dict[str, list[Any]] = {
    "priority": ["urgent", "HIGH", "", 1, None, True, [MARKER]],
    "run_at": [
        *("", "tomorrow", "2026-12-24", "2026-12-24T18:00:00", "1700000000", "2026-13-01T00:00:00Z", MARKER),
        *(
            "2026-12-24T18:00:00+25:00",
            "9999-12-31T23:59:59-23:00",
            "0001-01-01T00:00:00+05:00",
            "2026-12-24T18:00:60Z",
        ),
        *("2026-12-24T18:00:00Z\n", "\u0662026-12-24T18:00:00Z", 1_700_000_000, True, {}),
    ],
    "delay_seconds": [-1, -1e-9, 315_360_001, 1e300, "60", True, [60]],
    "max_attempts": [0, -1, 1_001, 1.0, 1e3, "3", True, [3]],
    "timeout_seconds": [0, -1, 315_360_001, "60", True, {}],
    "concurrency_key": ["", "x" * 256, "a\nb", "a\x7fb", 17, True, [MARKER]],
    "concurrency_limit": [0, -1, 10_001, 1.0, "1", None, False],
}

# Content that the kind does not take.
WRONG_PAYLOAD: dict[str, Any] = {
    "negative": -1,
    "true": True,
    "digits in a string": "1",
    "a word": MARKER,
    "too long": 86_401,
    "list": [MARKER],
    "object": {"a": MARKER},
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_not_json_is_400(refusals: Refusals, body: bytes) -> None:
    """A body that is not JSON in UTF-8 has no field to name."""
    await refusals.refuse_body(body, 400)


@pytest.mark.parametrize(("content", "pointer"), UNSTORABLE.values(), ids=UNSTORABLE)
async def test_what_can_not_be_kept_is_422(refusals: Refusals, content: str, pointer: str) -> None:
    """A value that would not come back as it was sent is refused where it stands."""
    await refusals.refuse_body(f'{{"content": {content}}}'.encode(), 422, [pointer])


@pytest.mark.parametrize(("body", "pointer"), WRONG_SHAPE.values(), ids=WRONG_SHAPE)
async def test_what_is_not_a_task_is_422(refusals: Refusals, body: Any, pointer: str) -> None:
    """JSON of another shape is refused with the field named."""
    await refusals.refuse_body(json.dumps(body).encode(), 422, [pointer])


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in WRONG_OPTIONS.items() for value in values]
)
async def test_an_option_out_of_its_range_is_422(refusals: Refusals, option: str, value: Any) -> None:
    """Named, and nothing is created; numbers are numbers, and 1.0 is no integer."""
    await refusals.refuse_body(json.dumps({"content": 1, option: value}).encode(), 422, [f"/{option}"])


async def test_a_time_and_a_delay_are_one_too_many(refusals: Refusals) -> None:
    """They say the same, so one of them is wrong."""
    body = {"content": 1, "run_at": "2030-01-01T00:00:00Z", "delay_seconds": 5}
    await refusals.refuse_body(json.dumps(body).encode(), 422, ["/delay_seconds"])


@pytest.mark.parametrize("seconds", WRONG_PAYLOAD.values(), ids=WRONG_PAYLOAD)
async def test_content_that_does_not_fit_its_kind_is_422(refusals: Refusals, seconds: Any) -> None:
    """The payload type of the kind checks the content when it is posted, whether the kind is named or not."""
    for fields in ({}, {"kind": "simulate"}):
        body = json.dumps({"content": {"simulate_seconds": seconds}, **fields}).encode()
        await refusals.refuse_body(body, 422, ["/content/simulate_seconds"])


async def test_several_wrong_fields_are_named_at_once(refusals: Refusals) -> None:
    """One answer names what is missing, what is wrong and what is unknown."""
    await refusals.refuse_body(b'{"kind": 1, "other": "S3CRET"}', 422, ["/content", "/kind", "/other"])


async def test_an_answer_names_ten_places_at_most(refusals: Refusals) -> None:
    """However much is wrong, the answer stays short."""
    unknown = json.dumps({"content": 1} | {f"f{i:05}": MARKER for i in range(50_000)}).encode()
    await refusals.refuse_body(unknown, 422, [f"/f{i:05}" for i in range(10)])
    wrong = b'{"content": [' + b",".join([b"NaN"] * 200_000) + b"]}"
    await refusals.refuse_body(wrong, 422, [f"/content/{i}" for i in range(199_999, 199_989, -1)])
