"""Long polls, and answers to those who have it already."""

import asyncio
import time
from typing import Any

import httpx2
import pytest

from tests.support.processes import Service, service

HANDLERS = {"handler_modules": "tests.handlers.groups"}


async def _timed(taskmill: Service, path: str, **headers: str) -> tuple[httpx2.Response, float]:
    start = time.monotonic()
    answer = await taskmill.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return answer, time.monotonic() - start


async def test_a_long_poll_answers_at_the_end_or_after_the_wait(database_url: str, redis_url: str) -> None:
    """For tasks and groups, by the query and by the header; with an ETag at the first change."""
    async with service(database_url, redis_url, **HANDLERS) as taskmill:
        task = await taskmill.create({"simulate_seconds": 0.7})
        made = (await taskmill.client.post("/group", json={"tasks": [{"content": {"simulate_seconds": 0.7}}]})).json()
        paths = f"/task/{task['id']}", f"/group/{made['id']}"
        for path in paths:
            answer, seconds = await _timed(taskmill, f"{path}?wait=1")
            assert 1 <= seconds < 1.5
            assert answer.json()["status"] in {"pending", "open"}
            assert answer.headers["etag"] == 'W/"1"'
            assert "preference-applied" not in answer.headers
            answer, seconds = await _timed(taskmill, path, prefer="wait=1", if_none_match='"0", W/"1"')
            assert 1 <= seconds < 1.5
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == 'W/"1"'
            assert answer.headers["preference-applied"] == "wait=1"
        changes = [asyncio.create_task(_timed(taskmill, f"{p}?wait=20", if_none_match='W/"1"')) for p in paths]
        ends = [asyncio.create_task(_timed(taskmill, path, prefer="foo, Wait=20;x")) for path in paths]
        await taskmill.start_consumer()
        for change in changes:
            answer, _ = await change
            assert answer.headers["etag"] == 'W/"2"'
            assert answer.json()["status"] in {"processing", "open"}
        for end in ends:
            answer, _ = await end
            assert answer.json()["status"] in {"completed", "ended"}
            assert answer.headers["preference-applied"] == "wait=20"
        for path in paths:
            answer, seconds = await _timed(taskmill, f"{path}?wait=20")
            assert seconds < 0.5
            tag = answer.headers["etag"]
            for known in (tag, tag.removeprefix("W/"), f'"x",{tag}', "*"):
                answer, seconds = await _timed(taskmill, f"{path}?wait=20", if_none_match=known)
                assert seconds < 0.5
                assert (answer.status_code, answer.headers["etag"]) == (304, tag)
            answer, _ = await _timed(taskmill, path, if_none_match='W/"1"')
            assert answer.status_code == 200


@pytest.mark.parametrize("subject", ["task", "group"])
async def test_what_is_no_wait_is_refused(subject: str, live: Service) -> None:
    """As a problem; other parameters are nobody's concern; a preference is never an error."""
    body = {"content": 1} if subject == "task" else {"tasks": [{"content": 1}]}
    made: dict[str, Any] = (await live.client.post(f"/{subject}", json=body)).json()
    path = f"/{subject}/{made['id']}"
    for query in (
        *("wait=", "wait=-1", "wait=61", "wait=1.5", "wait=x", "wait=1e1", "wait=%2B1", "wait=%D9%A1", "wait=020"),
        *("wait=9" + "0" * 5000, "wait=1&wait=1", "wait=0&wait=", "wait=%00", "wait=1%0D%0A"),
    ):
        answer = await live.client.get(f"{path}?{query}")
        assert answer.status_code == 422, query
        assert answer.headers["content-type"] == "application/problem+json"
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/wait"]
    for query in ("wait=0", "wait=00", "x=1", "Wait=20", "=", "&&"):
        answer, seconds = await _timed(live, f"{path}?{query}")
        assert (answer.status_code, seconds < 0.5) == (200, True), query
    for prefer in ("wait", "wait=-1", "wait=x", "wait=1.5", "respond-async", ",;=", "wait=0", 'wait="', "x" * 5_000):
        answer, seconds = await _timed(live, path, prefer=prefer)
        assert (answer.status_code, seconds < 0.5) == (200, True), prefer
    for tags in ("", "1", "W/1", 'w/"1"x', '"', "**", '"2", W/"3"', '",' * 2_000):
        answer, _ = await _timed(live, path, if_none_match=tags)
        assert answer.status_code in {200, 304}
        assert (answer.status_code == 304) == ('"1"' in tags), tags


@pytest.mark.parametrize("subject", ["task", "group"])
async def test_what_is_not_there(subject: str, live: Service) -> None:
    """404, waited for or not; and a stream takes no other method."""
    for missing in ("x", "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21", "%00"):
        for rest in ("/events", "?wait=60"):
            answer, seconds = await _timed(live, f"/{subject}/{missing}{rest}", last_event_id="1")
            assert (answer.status_code, seconds < 1) == (404, True)
            assert answer.headers["content-type"] == "application/problem+json"
    assert (await live.client.post(f"/{subject}/x/events")).status_code == 405


async def test_head_does_not_wait_for_events(live: Service) -> None:
    """Its headers are all there is to say."""
    task = await live.create()
    answer = await live.client.head(f"/task/{task['id']}/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert (await live.client.head(f"/task/{task['id']}")).headers["etag"] == 'W/"1"'
