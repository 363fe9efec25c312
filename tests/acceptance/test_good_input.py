"""Content that is unusual but right: it comes back as it was sent."""

import json

import pytest

from tests.support.processes import Service
from tests.support.wire import JSON, connect, request

CONTENT = {
    "null": "null",
    "false": "false",
    "empty string": '""',
    "empty object": "{}",
    "empty array": "[]",
    "empty name": '{"": {"": []}}',
    "emoji as is": '"😀👩‍👩‍👧‍👦🏳️‍🌈"',
    "emoji as escapes": r'"\ud83d\ude00"',
    "last code point": r'"\udbff\udfff"',
    "noncharacters": '"\uffff\ufffe\ufdd0"',
    "line separators": '"\u2028\u2029"',
    "right to left": '"\u202eabc\u202c \u0627\u0644"',
    "combining marks": '"e\u0301 \u00e9"',
    "escaped slashes": r'"<\/script> a\/b"',
    "every short escape": r'"\"\\\/\b\f\n\r\t"',
    "escaped control characters": r'"\u0001\u001f\u007f\u0080"',
    "escaped letters": r'{"\u0061": "\u0062"}',
    "six characters that look like a NUL": r'"\\u0000"',
    "the same in a name": r'{"\\u0000": ["a\\\\u0000"]}',
    "words for numbers": '["NaN", "Infinity", "-Infinity", "1e999"]',
    "digits in a string": '"' + "9" * 5_000 + '"',
    "brackets in a string": '"' + "[{" * 1_000 + '"',
    "largest integer": str(2**53 - 1),
    "smallest integer": str(-(2**53 - 1)),
    "zero": "0",
    "fractions": "[0.1, 1.5, -2.75, 3.141592653589793]",
    "large numbers": "[1e22, 1E+22, 1e308, 1.7976931348623157e308]",
    "small numbers": "[1e-7, 5e-324, 2.2250738585072014e-308]",
    "true beside 1": "[true, 1, false, 0, null]",
    "names of Python and JavaScript": '{"__proto__": 1, "constructor": 2, "__class__": 3, "toString": 4}',
    "names of a task": '{"id": 1, "status": "completed", "content": {"content": 2}}',
    "64 deep": '{"a":' * 32 + "[" * 32 + "]" * 32 + "}" * 32,
    "64 deep beside others": "[" + "[]," * 500 + "[" * 63 + "1" + "]" * 63 + "]",
    "10,000 names": json.dumps({f"name {i}": i for i in range(10_000)}),
    "white space": " [ 1 ,\r\n\t2 ] ",
    "SQL": '"\'; DROP TABLE tasks; --"',
    "half a second": '{"simulate_seconds": 0.5, "other": ["kept"]}',
    "no seconds": '{"simulate_seconds": null}',
}


@pytest.mark.parametrize("content", CONTENT.values(), ids=CONTENT)
async def test_content_comes_back_as_it_was_sent(live: Service, content: str) -> None:
    """The answer to POST and the answer to GET both have the content that was sent."""
    async with connect(live.url) as wire:
        created = await wire.ask(request("POST", "/task", JSON, body=f'{{"content": {content}}}'.encode()))
        assert created.status == 201, created.body
        read = await wire.ask(request("GET", f"/task/{created.json()['id']}"))
    assert read.status == 200
    assert _content(created.body) == _content(read.body) == _canonical(json.loads(content))


async def test_a_megabyte_of_large_numbers_stays_a_megabyte(live: Service) -> None:
    """Written out, as PostgreSQL's jsonb does, it would be 50."""
    numbers = [1e308] * 100_000
    task = await live.create(numbers)
    answer = await live.client.get(f"/task/{task['id']}")
    assert answer.json()["content"] == numbers
    assert len(answer.content) < 2**20


async def test_the_last_of_two_equal_names_counts(live: Service) -> None:
    """As in every JSON reader that does not refuse them, and the same in both answers."""
    async with connect(live.url) as wire:
        created = await wire.ask(request("POST", "/task", JSON, body=b'{"content": {"a": 1, "a": 2}}'))
    assert created.json()["content"] == (await live.get(created.json()["id"]))["content"] == {"a": 2}


async def test_a_kind_that_is_null_is_the_default(live: Service) -> None:
    """As one that is left out."""
    assert (await live.create("x", kind=None))["kind"] == (await live.create("x"))["kind"] == "simulate"


def _content(body: bytes) -> str:
    return _canonical(json.loads(body)["content"])


def _canonical(value: object) -> str:
    return json.dumps(value)  # tells 1 from 1.0, and the order of names
