"""Groups that are refused: with the right 4xx, pointers to what is wrong, no echo, and no row."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.support.processes import Service, service
from tests.support.refusals import MARKER, Refusals
from tests.support.servers import Servers
from tests.support.wire import JSON, request

OK: Any = {"content": 1}

WRONG: dict[str, tuple[Any, list[str]]] = {
    "array": ([OK], [""]),
    "nothing": ({}, ["/tasks"]),
    "null": ({"tasks": None}, ["/tasks"]),
    "no tasks": ({"tasks": []}, ["/tasks"]),
    "an object": ({"tasks": {"0": OK}}, ["/tasks"]),
    "10,001 tasks": ({"tasks": [OK] * 10_001}, ["/tasks"]),
    "a task is null": ({"tasks": [OK, None]}, ["/tasks/1"]),
    "a task is a string": ({"tasks": [OK, MARKER]}, ["/tasks/1"]),
    "no content": ({"tasks": [OK] * 17 + [{}]}, ["/tasks/17/content"]),
    "unknown field of a task": ({"tasks": [{"content": 1, "id": MARKER}]}, ["/tasks/0/id"]),
    "unknown kind": ({"tasks": [OK, {"content": 1, "kind": MARKER}]}, ["/tasks/1/kind"]),
    "wrong content": (
        {"tasks": [OK] * 600 + [{"content": {"simulate_seconds": MARKER}}]},
        ["/tasks/600/content/simulate_seconds"],
    ),
    "wrong priority": ({"tasks": [{"content": 1, "priority": MARKER}]}, ["/tasks/0/priority"]),
    "wrong delay": ({"tasks": [{"content": 1, "delay_seconds": -1}]}, ["/tasks/0/delay_seconds"]),
    "NUL": ({"tasks": [OK, {"content": {"a": "\0"}}]}, ["/tasks/1/content/a"]),
    "NUL in a name": ({"tasks": [OK, {"content": {"\0": 1}}]}, ["/tasks/1/content"]),
    "2^53": ({"tasks": [{"content": [2**53]}]}, ["/tasks/0/content/0"]),
    "65 arrays": ({"tasks": [{"content": json.loads("[" * 65 + "]" * 65)}]}, ["/tasks/0/content/0/0"]),
    "on_failure": ({"tasks": [OK], "on_failure": MARKER}, ["/on_failure"]),
    "on_failure is null": ({"tasks": [OK], "on_failure": None}, ["/on_failure"]),
    "unknown field": ({"tasks": [OK], "name": MARKER}, ["/name"]),
    "then is a string": ({"tasks": [OK], "then": MARKER}, ["/then"]),
    "then's content is a string": ({"tasks": [OK], "then": {"content": MARKER}}, ["/then/content"]),
    "then's content is null": ({"tasks": [OK], "then": {"content": None}}, ["/then/content"]),
    "then's kind": ({"tasks": [OK], "then": {"kind": MARKER}}, ["/then/kind"]),
    "then's kind takes no group": ({"tasks": [OK], "then": {"kind": "step"}}, ["/then/content/group"]),
    "then has a group": ({"tasks": [OK], "then": {"content": {"group": MARKER}}}, ["/then/content/group"]),
    "then's content does not fit": (
        {"tasks": [OK], "then": {"kind": "report", "content": {"label": 1}}},
        ["/then/content/label"],
    ),
    "then has a NUL": ({"tasks": [OK], "then": {"content": {"a": "\0"}}}, ["/then/content/a"]),
    "then has a name with NUL": ({"tasks": [OK], "then": {"content": {"\0": 1}}}, ["/then/content"]),
    "then has an unknown field": ({"tasks": [OK], "then": {"tasks": []}}, ["/then/tasks"]),
    "then's option": ({"tasks": [OK], "then": {"max_attempts": 0}}, ["/then/max_attempts"]),
    "several": (
        {"tasks": [{"content": 1, "kind": MARKER}, {"content": {"simulate_seconds": -1}}], "then": {"kind": MARKER}},
        ["/tasks/0/kind", "/tasks/1/content/simulate_seconds", "/then/kind"],
    ),
    "more than are named": (
        {"tasks": [{"content": 1, "kind": MARKER}] * 500},
        [f"/tasks/{number}/kind" for number in range(10)],
    ),
    "more than are named, by shape": ({"tasks": [MARKER] * 500}, [f"/tasks/{number}" for number in range(10)]),
}


@pytest.fixture(scope="module")
async def live(servers: Servers, live_database_url: str) -> AsyncIterator[Service]:
    """An API process that knows the kinds of tests/handlers/groups.py."""
    settings = {"handler_modules": "tests.handlers.groups"}
    async with service(live_database_url, servers.redis_url, **settings) as running:
        yield running


@pytest.mark.parametrize(("body", "pointers"), WRONG.values(), ids=WRONG)
async def test_what_is_not_a_group_is_422(
    refusals: Refusals, live_database_url: str, body: Any, pointers: list[str]
) -> None:
    """Each place that is wrong is named, and neither the group nor any task is kept."""
    data = request("POST", "/group", JSON, body=json.dumps(body).encode())
    await refusals.refuse(data, 422, pointers)
    connection = await asyncpg.connect(live_database_url)
    assert await connection.fetchval("SELECT count(*) FROM groups") == 0
    await connection.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("POST", "/group", JSON, body=b'{"tasks": [{"content": "S3CRET"}'), 400),
        (request("POST", "/group", body=b'{"tasks": [{"content": "S3CRET"}]}'), 415),
        (request("POST", "/group", JSON, body=b'{"tasks": [' + b'{"content": 1},' * 100_000 + b"]}"), 413),
        (request("GET", "/group"), 405),
        (request("DELETE", "/group/0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21"), 405),
        (request("GET", "/group/x"), 404),
        (request("GET", "/group/0192d2ab4e1f7a308b6e3f0c9a5d7e21"), 404),
        (request("PATCH", "/group/0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21/cancel"), 404),
    ],
    ids=["not JSON", "no content type", "too long", "GET", "DELETE", "no id", "id without hyphens", "no such group"],
)
async def test_what_is_no_such_call_is_refused(refusals: Refusals, data: bytes, status: int) -> None:
    """As for tasks."""
    await refusals.refuse(data, status)
