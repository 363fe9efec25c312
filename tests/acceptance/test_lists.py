"""GET /task: what is listed, how one gets from page to page, and what is refused."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest

from tests.support.processes import Service, service
from tests.support.refusals import MARKER, Refusals
from tests.support.types import Connection
from tests.support.wire import JSON, request

QUERIES: dict[str, tuple[str, list[str]]] = {
    "unknown parameter": ("colour=S3CRET", ["/colour"]),
    "a parameter in capitals": ("Status=failed", ["/Status"]),
    "content without a name": ("content=1", ["/content"]),
    "content with an empty name": ("content.=1", ["/content/"]),
    "content twice": ("content.a=1&content.a=2", ["/content.a"]),
    "11 names": ("&".join(f"content.n{n}=1" for n in range(11)), ["/content"]),
    "long name in content": (f"content.{'a' * 256}=1", [f"/content/{'a' * 64}"]),
    "long value in content": (f"content.a={'a' * 1_001}", ["/content/a"]),
    "unknown status": ("status=S3CRET", ["/status/0"]),
    "one unknown status": ("status=failed&status=S3CRET", ["/status/1"]),
    "empty status": ("status=", ["/status/0"]),
    "status without a value": ("status", ["/status/0"]),
    "a comma too many": ("status=failed,,canceled", ["/status/1"]),
    "11 statuses": ("status=" + ",".join(["failed"] * 11), ["/status"]),
    "empty kind": ("kind=simulate,", ["/kind/1"]),
    "long kind": (f"kind={'a' * 256}", ["/kind/0"]),
    "21 kinds": ("kind=" + ",".join(["a"] * 21), ["/kind"]),
    "group that is no id": ("group=S3CRET", ["/group"]),
    "empty group": ("group=", ["/group"]),
    "two groups": ("group=a&group=b", ["/group"]),
    "unknown priority": ("priority=0", ["/priority"]),
    "two priorities": ("priority=low&priority=high", ["/priority"]),
    "a number for a time": ("created_after=1700000000", ["/created_after"]),
    "a date for a time": ("created_before=2026-01-01", ["/created_before"]),
    "a time without a zone": ("finished_after=2026-01-01T00:00:00", ["/finished_after"]),
    "a day that there is not": ("finished_before=2026-02-30T00:00:00Z", ["/finished_before"]),
    "a + that is none": ("created_after=2026-01-01T00:00:00+01:00", ["/created_after"]),
    "empty time": ("created_after=", ["/created_after"]),
    "two times": ("created_after=2026-01-01T00:00:00Z&created_after=2026-01-01T00:00:00Z", ["/created_after"]),
    **{
        f"limit {limit[:9]}": (f"limit={limit}", ["/limit"])
        for limit in ("0", "-1", "201", "1e3", "abc", "", "1.0", "%2B5", "%C2%B2", "9" * 5_000, "0x10", "%205")
    },
    "two limits": ("limit=1&limit=1", ["/limit"]),
    "empty cursor": ("cursor=", ["/cursor"]),
    "two cursors": ("cursor=a&cursor=b", ["/cursor"]),
    "no cursor": ("cursor=S3CRET", ["/cursor"]),
    "a cursor of zeros": (f"cursor={'A' * 64}", ["/cursor"]),
    "a cursor that is no ASCII": (f"cursor={quote('é' * 64)}", ["/cursor"]),
    "a cursor that is no base64": (f"cursor={'!' * 64}", ["/cursor"]),
    "long cursor": (f"cursor={'A' * 5_000}", ["/cursor"]),
    "NUL in a value": ("kind=a%00b", []),
    "NUL in a name": ("content.%00=b", []),
    "invalid UTF-8": ("kind=%ff%fe", []),
    "overlong UTF-8": ("kind=%c0%80", []),
    "a surrogate": ("content.a=%ed%a0%80", []),
    "broken escape": ("kind=%zz", []),
    "escape cut short": ("kind=a%4", []),
    "10,000 characters": ("content.a=" + "b" * 10_000, []),
    "SQL": ("content.a'%20OR%201=1&status='%20OR%201=1--", ["/status/0"]),
}

BULKS: dict[str, tuple[Any, list[str]]] = {
    "array": ([], [""]),
    "nothing": ({}, ["/action", "/filter"]),
    "no filter": ({"action": "cancel"}, ["/filter"]),
    "no action": ({"filter": {"kind": ["a"]}}, ["/action"]),
    "filter that says nothing": ({"action": "cancel", "filter": {}}, ["/filter"]),
    "filter is null": ({"action": "cancel", "filter": None}, ["/filter"]),
    "unknown action": ({"action": MARKER, "filter": {"kind": ["a"]}}, ["/action"]),
    "action delete": ({"action": "delete", "filter": {"kind": ["a"]}}, ["/action"]),
    "unknown field": ({"action": "cancel", "filter": {"kind": ["a"]}, "tenant": MARKER}, ["/tenant"]),
    "unknown condition": ({"action": "cancel", "filter": {"id": MARKER}}, ["/filter/id"]),
    "a condition is null": ({"action": "cancel", "filter": {"group": None, "kind": ["a"]}}, ["/filter/group"]),
    "kind is no list": ({"action": "cancel", "filter": {"kind": "simulate"}}, ["/filter/kind"]),
    "no kinds": ({"action": "cancel", "filter": {"kind": []}}, ["/filter/kind"]),
    "unknown status": ({"action": "cancel", "filter": {"status": [MARKER]}}, ["/filter/status/0"]),
    "cancel what has ended": ({"action": "cancel", "filter": {"status": ["failed"]}}, ["/filter/status"]),
    "retry what runs": ({"action": "retry", "filter": {"status": ["processing"]}}, ["/filter/status"]),
    "dry_run is a string": ({"action": "cancel", "filter": {"kind": ["a"]}, "dry_run": "yes"}, ["/dry_run"]),
    "dry_run is 1": ({"action": "cancel", "filter": {"kind": ["a"]}, "dry_run": 1}, ["/dry_run"]),
    "group that is no id": ({"action": "cancel", "filter": {"group": MARKER}}, ["/filter/group"]),
    "time that is a number": ({"action": "cancel", "filter": {"created_after": 1}}, ["/filter/created_after"]),
    "content that is a number": ({"action": "cancel", "filter": {"content": {"a": 17}}}, ["/filter/content/a"]),
    "content that is empty": ({"action": "cancel", "filter": {"content": {}}}, ["/filter/content"]),
    "NUL in content": ({"action": "cancel", "filter": {"content": {"a": "\0"}}}, ["/filter/content/a"]),
}


@pytest.mark.parametrize(("query", "pointers"), QUERIES.values(), ids=QUERIES)
async def test_a_query_that_is_wrong_is_refused(refusals: Refusals, query: str, pointers: Sequence[str]) -> None:
    """With a pointer to the parameter, where there is one."""
    await refusals.refuse(request("GET", f"/task?{query}"), 422, pointers)


@pytest.mark.parametrize(("body", "pointers"), BULKS.values(), ids=BULKS)
async def test_a_bulk_that_is_wrong_is_refused(refusals: Refusals, body: Any, pointers: Sequence[str]) -> None:
    """No task is made of it."""
    await refusals.refuse(request("POST", "/task/bulk", JSON, body=json.dumps(body).encode()), 422, pointers)


async def test_the_filters(database_url: str, redis_url: str, sql: Connection) -> None:
    """Each of them by itself, in every form in which it may be written."""
    async with service(database_url, redis_url) as taskmill:
        made = [await taskmill.create({"customer": n, "name": f"ä&{n}"}) for n in range(6)]
        names = {task["id"]: n for n, task in enumerate(made)}
        for n, priority in ((1, "high"), (2, "low")):
            task = await taskmill.create("no object", priority=priority)
            names[task["id"]] = 10 + n
        await sql.execute("UPDATE tasks SET status = 'failed', finished_at = now() WHERE id = $1", made[0]["id"])
        canceled = (await taskmill.client.patch(f"/task/{made[1]['id']}/cancel")).json()
        group = (await taskmill.client.post("/group", json={"tasks": [{"content": n} for n in range(3)]})).json()
        names |= {task_id: 20 + n for n, task_id in enumerate(group["task_ids"])}

        async def listed(query: str) -> list[int]:
            answer = await taskmill.client.get(f"/task?{query}")
            assert answer.status_code == 200, answer.text
            assert answer.json().keys() == {"tasks", "next"}
            assert answer.json()["next"] is None
            assert "link" not in answer.headers
            return [names[task["id"]] for task in answer.json()["tasks"]]

        assert await listed("") == [22, 21, 20, 12, 11, 5, 4, 3, 2, 1, 0]
        assert await listed("status=failed") == [0]
        assert await listed("status=failed,canceled") == await listed("status=canceled&status=failed") == [1, 0]
        assert await listed("status=pending&priority=high") == [11]
        assert await listed("priority=low") == [12]
        assert await listed("kind=simulate,http&priority=low") == [12]
        assert await listed("kind=http") == []
        assert await listed(f"group={group['id']}") == [22, 21, 20]
        assert await listed(f"group={group['id']}&status=canceled") == []
        assert await listed("content.customer=3") == [3]
        assert await listed(f"content.name={quote('ä&3')}") == [3]
        assert await listed("content.customer=3&content.name=x") == []
        assert await listed(f"finished_after={canceled['finished_at']}") == [1]
        assert await listed(f"finished_before={canceled['finished_at']}") == [0]
        milliseconds = UUID(made[3]["id"]).int >> 80
        time = (
            datetime.fromtimestamp(milliseconds / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
        older = [number for task_id, number in sorted(names.items()) if UUID(task_id).int >> 80 < milliseconds]
        assert await listed(f"created_before={time}") == older[::-1]
        assert await listed(f"created_after={time}") == [n for n in await listed("") if n not in older]
        whole = (await taskmill.client.get("/task?status=canceled")).json()["tasks"]
        assert whole == [await taskmill.get(made[1]["id"])]


async def test_from_page_to_page(live: Service, live_sql: Connection) -> None:
    """By `next` or by the Link; what is created meanwhile changes nothing. A cursor is for its own filter alone."""
    for n in range(7):
        await live.create({"paged": n})
    await live.create({"paged": "x", "other": 1})
    found: list[Any] = []
    url = "/task?status=pending&limit=3&kind=simulate&content.x%26%20y="
    await live_sql.execute("UPDATE tasks SET content = '{\"x& y\": \"\"}' WHERE content -> 'paged' IS NOT NULL")
    while url:
        answer = await live.client.get(url)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [task["id"] for task in page["tasks"]]
        if page["next"] is None:
            assert "link" not in answer.headers
            break
        await live.create({"x& y": ""})
        url = answer.headers["link"].removeprefix("<").removesuffix('>; rel="next"')
        assert url.endswith(f"cursor={page['next']}")
    assert len(found) == len(set(found)) == 8
    assert found == sorted(found, reverse=True)


async def test_a_cursor_can_not_be_made_up(live: Service) -> None:
    """Neither its id nor its filter can be changed, nor can it be taken to another list."""
    for _ in range(3):
        await live.create("x")
    cursor = (await live.client.get("/task?limit=1&status=pending")).json()["next"]
    assert (await live.client.get(f"/task?limit=2&status=pending&cursor={cursor}")).status_code == 200
    raw = bytearray(urlsafe_b64decode(cursor))
    for place in (0, 15, 16, 31, 32, 47):
        changed = raw.copy()
        changed[place] ^= 1
        tampered = urlsafe_b64encode(changed).decode()
        answer = await live.client.get(f"/task?limit=1&status=pending&cursor={tampered}")
        assert answer.status_code == 422
        assert "is not the `next`" in answer.json()["detail"]
    for query in ("", "status=failed", "status=pending&kind=simulate", "status=pending&content.a=1"):
        answer = await live.client.get(f"/task?{query}&cursor={cursor}")
        assert answer.status_code == 422
        assert "another filter" in answer.json()["detail"]


async def test_a_page_of_large_tasks_is_cut(live: Service) -> None:
    """At 8 MiB: the rest is on the next one."""
    for _ in range(11):
        await live.create({"large": "1", "text": "a" * 900_000})
    first = (await live.client.get("/task?content.large=1&limit=200")).json()
    assert len(first["tasks"]) == 9
    rest = (await live.client.get(f"/task?content.large=1&limit=200&cursor={first['next']}")).json()
    assert len(rest["tasks"]) == 2
    assert rest["next"] is None


async def test_the_name_of_a_call_is_no_id(live: Service) -> None:
    """405, with the methods that there are, and not the 404 of a task."""
    for method in ("GET", "PATCH", "DELETE"):
        answer = await live.client.request(method, "/task/bulk")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_task_that_has_ended_can_be_deleted(live: Service) -> None:
    """204, and then there is none; a live one stays."""
    task = await live.create("x")
    path = f"/task/{task['id']}"
    refused = await live.client.delete(path)
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert "pending" in refused.json()["detail"]
    await live.client.patch(f"{path}/cancel")
    deleted = await live.client.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for answer in (await live.client.delete(path), await live.client.get(path), await live.client.delete("/task/x")):
        assert answer.status_code == 404
