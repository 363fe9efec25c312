"""Schedules that are refused: with the right 4xx, pointers to what is wrong, no echo, and no row."""

import json
from typing import Any

import pytest

from tests.support.refusals import MARKER, Refusals
from tests.support.types import Connection
from tests.support.wire import JSON, request

GOOD = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "kind": "simulate", "content": 1}

# What is wrong with a body, and where the answer points.
WRONG: dict[str, tuple[Any, list[str]]] = {
    "array": ([GOOD], [""]),
    "null": (None, [""]),
    "empty": ({}, ["/cron", "/content"]),
    "no cron": ({"content": 1}, ["/cron"]),
    "no content": ({"cron": "* * * * *"}, ["/content"]),
    "unknown field": (GOOD | {"retries": MARKER}, ["/retries"]),
    "name in the body": (GOOD | {"name": MARKER}, ["/name"]),
    "cron is a number": (GOOD | {"cron": 5}, ["/cron"]),
    "cron is null": (GOOD | {"cron": None}, ["/cron"]),
    "cron is a list": (GOOD | {"cron": ["*"] * 5}, ["/cron"]),
    "cron is empty": (GOOD | {"cron": ""}, ["/cron"]),
    "cron is a word": (GOOD | {"cron": MARKER}, ["/cron"]),
    "cron with a nickname": (GOOD | {"cron": "@daily"}, ["/cron"]),
    "cron with seconds": (GOOD | {"cron": "0 * * * * *"}, ["/cron"]),
    "cron with a wrong minute": (GOOD | {"cron": "60 * * * *"}, ["/cron"]),
    "cron with a wrong weekday": (GOOD | {"cron": f"0 0 * * {MARKER}"}, ["/cron"]),
    "cron of 30 February": (GOOD | {"cron": "0 0 30 2 *"}, ["/cron"]),
    "cron with a NUL": (GOOD | {"cron": "* * * * *\0"}, ["/cron"]),
    "cron is very long": (GOOD | {"cron": "0," * 100_000 + "0 * * * *"}, ["/cron"]),
    "timezone is a number": (GOOD | {"timezone": 1}, ["/timezone"]),
    "timezone is null": (GOOD | {"timezone": None}, ["/timezone"]),
    "timezone is empty": (GOOD | {"timezone": ""}, ["/timezone"]),
    "timezone is unknown": (GOOD | {"timezone": f"Europe/{MARKER}"}, ["/timezone"]),
    "timezone is an offset": (GOOD | {"timezone": "+02:00"}, ["/timezone"]),
    "timezone is a path": (GOOD | {"timezone": "../../../../etc/passwd"}, ["/timezone"]),
    "timezone is a folder": (GOOD | {"timezone": "Europe"}, ["/timezone"]),
    "timezone is the host's": (GOOD | {"timezone": "localtime"}, ["/timezone"]),
    "timezone with a NUL": (GOOD | {"timezone": "UTC\0"}, ["/timezone"]),
    "cron and timezone": (GOOD | {"cron": "x", "timezone": "y"}, ["/cron", "/timezone"]),
    "kind is unknown": (GOOD | {"kind": MARKER}, ["/kind"]),
    "kind is a number": (GOOD | {"kind": 1}, ["/kind"]),
    "content does not fit": (GOOD | {"content": {"simulate_seconds": -1}}, ["/content/simulate_seconds"]),
    "content is no fit, and no kind is named": (
        *({"cron": "* * * * *", "content": {"simulate_seconds": MARKER}}, ["/content/simulate_seconds"]),
    ),
    "content with a NUL": (GOOD | {"content": {"a": f"{MARKER}\0"}}, ["/content/a"]),
    "content with 2^53": (GOOD | {"content": [2**53]}, ["/content/0"]),
    "missed is unknown": (GOOD | {"missed": MARKER}, ["/missed"]),
    "missed in capitals": (GOOD | {"missed": "SKIP"}, ["/missed"]),
    "missed is null": (GOOD | {"missed": None}, ["/missed"]),
    "enabled is a word": (GOOD | {"enabled": "true"}, ["/enabled"]),
    "enabled is a number": (GOOD | {"enabled": 1}, ["/enabled"]),
    "enabled is null": (GOOD | {"enabled": None}, ["/enabled"]),
}

NOT_NAMES = ["-x", ".x", "_x", "a%20b", "a%00", "%00", "x" * 101, "%C3%A4", "a%0A", "..", "%2e%2e", "'--", "a!"]


@pytest.mark.parametrize(("body", "pointers"), WRONG.values(), ids=WRONG)
async def test_what_is_no_schedule_is_422(
    refusals: Refusals, live_sql: Connection, body: Any, pointers: list[str]
) -> None:
    """Each field is checked; the answer names it and not its value, and nothing is kept."""
    before = await live_sql.fetchval("SELECT count(*) FROM schedules")
    await refusals.refuse(request("PUT", "/schedule/wrong", JSON, body=json.dumps(body).encode()), 422, pointers)
    assert await live_sql.fetchval("SELECT count(*) FROM schedules") == before


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (b"", 400, [JSON]),
        (b"{", 400, [JSON]),
        (b'{"cron": "\\ud800", "content": 1}', 400, [JSON]),
        (b"a" * 2_000_000, 413, [JSON]),
        (b"{}", 415, []),
        (b"{}", 415, ["Content-Type: text/plain"]),
        (b"{}", 415, [JSON, "Content-Encoding: gzip"]),
    ],
)
async def test_a_body_is_read_as_strictly_as_a_tasks(
    refusals: Refusals, body: bytes, status: int, headers: list[str]
) -> None:
    """By the same code."""
    await refusals.refuse(request("PUT", "/schedule/wrong", *headers, body=body), status)


@pytest.mark.parametrize("name", NOT_NAMES)
async def test_what_can_not_be_a_name(refusals: Refusals, name: str) -> None:
    """To put is refused with the rule for names; to look for it finds nothing."""
    answer = await refusals.refuse(request("PUT", f"/schedule/{name}", JSON, body=json.dumps(GOOD).encode()), 422)
    assert "a name has 1 to 100 letters" in answer.json()["detail"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/run")):
        await refusals.refuse(request(method, f"/schedule/{name}{path}"), 404)


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        *(("limit=" + limit, ["/limit"]) for limit in ("0", "1001", "x", "", "-1", "00001" + "9" * 5_000)),
        ("limit=000011001", ["/limit"]),
        ("limit=1&limit=1", ["/limit"]),
        ("after=", ["/after"]),
        ("after=-", ["/after"]),
        ("after=%00", []),
        ("x=1", ["/x"]),
    ],
    ids=lambda part: str(part)[:20],
)
async def test_a_wrong_query_is_422(refusals: Refusals, query: str, pointers: list[str]) -> None:
    """As it is for every list."""
    await refusals.refuse(request("GET", f"/schedule?{query}"), 422, pointers)
