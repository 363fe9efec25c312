"""POST /task/batch as a JSON array."""

import json
from typing import Any

import pytest

from tests.support.processes import Service
from tests.support.refusals import MARKER, Refusals
from tests.support.types import Connection
from tests.support.wire import JSON, request

NOT_A_BATCH: dict[str, tuple[bytes, int, list[str]]] = {
    "empty": (b"[]", 422, [""]),
    "1,001 items": (b"[" + b",".join([b'{"content":1}'] * 1_001) + b"]", 422, [""]),
    "an object": (b'{"content": "S3CRET"}', 422, [""]),
    "a string": (b'"S3CRET"', 422, [""]),
    "null": (b"null", 422, [""]),
    "nothing": (b"", 400, []),
    "no JSON": (b'[{"content": "S3CRET"}', 400, []),
    "two documents": (b'[{"content": "S3CRET"}][{"content": 1}]', 400, []),
    "lines": (b'{"content": "S3CRET"}\n{"content": 1}', 400, []),
    "a byte order mark": (b'\xef\xbb\xbf[{"content": "S3CRET"}]', 400, []),
    "no UTF-8": (b'[{"content": "S3CRET\xff"}]', 400, []),
    "a lone surrogate": (b'[{"content": "S3CRET\\ud800"}]', 400, []),
    "deeper than can be read": (b'[{"content": ' + b"[" * 5_000 + b"]" * 5_000 + b"}]", 400, []),
    "over BODY_LIMIT_BYTES": (b'[{"content": "' + MARKER.encode() * 200_000 + b'"}]', 413, []),
}

# Each an item, and what is wrong with it: the status, and pointers into it.
WRONG: dict[str, tuple[str, int, list[str]]] = {
    "null": ("null", 422, [""]),
    "a string": ('"S3CRET"', 422, [""]),
    "an array": ('[{"content": 1}]', 422, [""]),
    "no content": ("{}", 422, ["/content"]),
    "only a kind": ('{"kind": "simulate"}', 422, ["/content"]),
    "an unknown field": ('{"content": 1, "S": "S3CRET"}', 422, ["/S"]),
    "two unknown fields": ('{"content": 1, "a": 1, "b": 1}', 422, ["/a", "/b"]),
    "an unknown kind": ('{"content": 1, "kind": "S3CRET"}', 422, ["/kind"]),
    "a kind that only Taskmill makes": ('{"content": 1, "kind": "bulk"}', 422, ["/kind"]),
    "a callback to nowhere": ('{"content": 1, "callback_url": "mailto:x@example.com"}', 422, ["/callback_url"]),
    "a callback into the network": ('{"content": 1, "callback_url": "http://10.0.0.1/"}', 422, ["/callback_url"]),
    "a kind that is a number": ('{"content": 1, "kind": 17}', 422, ["/kind"]),
    "content that does not fit": ('{"content": {"simulate_seconds": "S3CRET"}}', 422, ["/content/simulate_seconds"]),
    "the same with options": (
        '{"content": {"simulate_seconds": "S3CRET"}, "priority": "low"}',
        422,
        ["/content/simulate_seconds"],
    ),
    "a wrong priority": ('{"content": 1, "priority": "S3CRET"}', 422, ["/priority"]),
    "a string for a number": ('{"content": 1, "max_attempts": "1"}', 422, ["/max_attempts"]),
    "a boolean for a number": ('{"content": 1, "max_attempts": true}', 422, ["/max_attempts"]),
    "1.0 for an integer": ('{"content": 1, "max_attempts": 1.0}', 422, ["/max_attempts"]),
    "no time": ('{"content": 1, "run_at": "S3CRET"}', 422, ["/run_at"]),
    "both times": ('{"content": 1, "run_at": "2030-01-01T00:00:00Z", "delay_seconds": 1}', 422, ["/delay_seconds"]),
    "a delay that is no number": ('{"content": 1, "delay_seconds": NaN}', 422, ["/delay_seconds"]),
    "NUL": ('{"content": {"a": ["\\u0000"]}}', 422, ["/content/a/0"]),
    "NUL with options": ('{"content": "\\u0000", "priority": "low"}', 422, ["/content"]),
    "NUL in a name": ('{"content": {"\\u0000": 1}}', 422, ["/content"]),
    "2^53": ('{"content": [9007199254740992]}', 422, ["/content/0"]),
    "NaN": ('{"content": NaN}', 422, ["/content"]),
    "1e400": ('{"content": {"x": 1e400}}', 422, ["/content/x"]),
    "65 deep": ('{"content": ' + "[" * 65 + "]" * 65 + "}", 422, ["/content/0/0"]),
}
GOOD = [
    '{"content": "\\\\u0000 is no NUL, and NaN no number"}',
    '{"content": 9007199254740991, "kind": null}',
    '{"content": 0.30000000000000004}',
    '{"content": 1e22}',
    '{"content": null}',
    '{"content": {"id": "1234567890123456789012345"}, "kind": "simulate"}',
    '{"content": ' + "[" * 64 + "]" * 64 + "}",
    '{"content": 1, "content": 2}',
]


async def test_many_tasks_in_one_answer(live: Service, live_sql: Connection) -> None:
    """1,000 of them, plain: each as GET shows it, in the order of the request, from one transaction."""
    answer = await live.client.post("/task/batch", json=[{"content": {"n": n}} for n in range(1_000)])
    assert answer.status_code == 201
    assert "idempotent-replayed" not in answer.headers
    batch = answer.json()
    assert (batch["created"], batch["refused"], len(batch["items"])) == (1_000, 0, 1_000)
    assert [item["index"] for item in batch["items"]] == list(range(1_000))
    tasks = [item["task"] for item in batch["items"]]
    assert [task["content"]["n"] for task in tasks] == list(range(1_000))
    for task in (tasks[0], tasks[499], tasks[999]):
        assert await live.get(task["id"]) == task
    ids = [task["id"] for task in tasks]
    assert ids == sorted(set(ids))
    assert await live_sql.fetchval("SELECT count(DISTINCT xmin::text) FROM tasks WHERE id = ANY($1)", ids) == 1


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "lines"}])
async def test_line_breaks_stay_where_they_are(live: Service, headers: dict[str, str]) -> None:
    """In strings and in names: each content is kept as it was sent, in its own task."""
    contents = ["a\nb", {"\n": "\r\n\u2028", "x": ["\n\n", ""]}, "", "\\n", "last"]
    items = [{"content": content} for content in contents]
    tasks = [
        item["task"] for item in (await live.client.post("/task/batch", json=items, headers=headers)).json()["items"]
    ]
    assert [task["content"] for task in tasks] == contents
    for task in tasks:
        assert await live.get(task["id"]) == task


async def test_an_item_may_say_all_that_a_task_may(live: Service, live_sql: Connection) -> None:
    """Priorities, times, attempts and keys, each its own; the trace of the request is everybody's."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    items = [
        {"content": 1, "priority": "high", "max_attempts": 7, "timeout_seconds": 1.5},
        {"content": 2, "delay_seconds": 3600},
        {"content": 3, "run_at": "2030-01-01T12:00:00+02:00", "kind": "simulate"},
        {"content": 4, "concurrency_key": "k", "concurrency_limit": 3},
        {"content": 5},
    ]
    answer = await live.client.post("/task/batch", json=items, headers={"traceparent": trace})
    assert answer.status_code == 201
    tasks = [item["task"] for item in answer.json()["items"]]
    for task in tasks:
        assert await live.get(task["id"]) == task
    assert [task["priority"] for task in tasks] == ["high", "normal", "normal", "normal", "normal"]
    assert (tasks[0]["max_attempts"], tasks[0]["timeout_seconds"]) == (7, 1.5)
    assert tasks[2]["run_at"] == "2030-01-01T10:00:00.000000Z"
    assert tasks[3]["concurrency_key"] == "k"
    rows = await live_sql.fetch(
        "SELECT traceparent, concurrency_limit FROM tasks WHERE id = ANY($1) ORDER BY id",
        [task["id"] for task in tasks],
    )
    assert [tuple(row) for row in rows] == [(trace, limit) for limit in (1, 1, 1, 3, 1)]
    plain = (await live.client.post("/task/batch", json=[{"content": 1}], headers={"traceparent": trace})).json()
    task_id = plain["items"][0]["task"]["id"]
    assert await live_sql.fetchval("SELECT traceparent FROM tasks WHERE id = $1", task_id) == trace


async def test_one_bad_item_spoils_only_itself(live: Service, refusals: Refusals) -> None:
    """All that can be wrong with an item, among good ones: 207, each error in its place, and the others are tasks."""
    items = [text for wrong, _, _ in WRONG.values() for text in ('{"content": 1}', wrong)] + GOOD
    before = await refusals.rows()
    answer = await live.client.post(
        "/task/batch", content=f"[{','.join(items)}]", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 207
    assert MARKER not in answer.text
    batch = answer.json()
    assert [item["index"] for item in batch["items"]] == list(range(len(items)))
    assert (batch["refused"], batch["created"]) == (len(WRONG), len(items) - len(WRONG))
    assert await refusals.rows() - before == batch["created"]
    for number, (name, (_, status, pointers)) in enumerate(WRONG.items()):
        good, bad = batch["items"][2 * number : 2 * number + 2]
        assert good["task"]["content"] == 1
        assert_item_problem(bad, status, pointers, name)
    for item, text in zip(batch["items"][-len(GOOD) :], GOOD, strict=True):
        assert item["task"]["content"] == json.loads(text)["content"]


@pytest.mark.parametrize(("item", "status", "pointers"), WRONG.values(), ids=WRONG)
async def test_errors_are_those_of_post_task(live: Service, item: str, status: int, pointers: list[str]) -> None:
    """The same words as for the item alone; all items wrong is 207 as well, and nothing is kept."""
    headers = {"Content-Type": "application/json"}
    alone = (await live.client.post("/task", content=item, headers=headers)).json()
    answer = await live.client.post("/task/batch", content=f"[{item}]", headers=headers)
    assert answer.status_code == 207
    assert (answer.json()["created"], answer.json()["refused"]) == (0, 1)
    assert_item_problem(answer.json()["items"][0], status, pointers, item)
    assert answer.json()["items"][0]["error"] == {name: alone[name] for name in alone if name != "instance"}


@pytest.mark.parametrize(("body", "status", "pointers"), NOT_A_BATCH.values(), ids=NOT_A_BATCH)
async def test_what_is_no_batch_is_refused(refusals: Refusals, body: bytes, status: int, pointers: list[str]) -> None:
    """As a whole, and nothing is kept."""
    await refusals.refuse(request("POST", "/task/batch", JSON, body=body), status, pointers)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("GET", "/task/batch"), 405),
        (request("DELETE", "/task/batch"), 405),
        (request("PUT", "/task/batch", JSON, body=b"[]"), 405),
        (request("POST", "/task/batch", body=b'[{"content": "S3CRET"}]'), 415),
        (request("POST", "/task/batch", "Content-Type: text/plain", body=b'[{"content": "S3CRET"}]'), 415),
        (request("POST", "/task/batch", "Content-Type: application/json; charset=latin-1", body=b"[]"), 415),
        (request("POST", "/task/batch", "Content-Type: application/x-ndjson; charset=latin-1", body=b"{}"), 415),
        (request("POST", "/task/batch", JSON, "Content-Type: application/x-ndjson", body=b"[]"), 415),
        (request("POST", "/task/batch", JSON, "Content-Encoding: gzip", body=b"[]"), 415),
        (
            request("POST", "/task/batch", "Content-Type: application/x-ndjson", "Content-Encoding: gzip", body=b"{}"),
            415,
        ),
    ],
)
async def test_what_is_no_such_call_is_refused(refusals: Refusals, data: bytes, status: int) -> None:
    """As for tasks."""
    await refusals.refuse(data, status)


def assert_item_problem(item: dict[str, Any], status: int, pointers: list[str], name: str) -> None:
    """A BatchItem that was refused, with pointers into the item."""
    assert "task" not in item, name
    error = item["error"]
    assert error["type"] == "about:blank"
    assert (error["status"], bool(error["title"]), bool(error["detail"])) == (status, True, True), name
    assert [each["pointer"] for each in error.get("errors", [])] == pointers, name
