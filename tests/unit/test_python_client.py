"""What the Python client decides, without a service: when it asks again, and what it makes of answers."""

import json
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

import taskmill_client as client

PROBLEM = {"type": "about:blank", "title": "Conflict", "status": 409, "detail": "The task is not failed."}
TASK = {
    "id": "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21",
    "content": "hello",
    "status": "pending",
    "created_at": "2024-10-28T08:04:08.990161Z",
    "updated_at": None,
}
CALL = client._Call("GET", "/task/x")
POST = client._post("/task", {"content": "é"}, None)


def answer(status: int, body: Any = None, **headers: str) -> httpx2.Response:
    """An answer of the service."""
    return httpx2.Response(
        status, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def drive(flow: Generator[Any, Any, Any], *answers: Any) -> tuple[list[Any], Any]:
    """Answer what the flow asks for; the steps it took, and what it returned. Pauses are answered by themselves."""
    steps: list[Any] = []
    given = iter(answers)
    reply: Any = None
    while True:
        try:
            step = flow.send(reply)
        except StopIteration as end:
            return steps, end.value
        steps.append(step)
        reply = None if isinstance(step, client._Pause | client._Item) else next(given)


@pytest.mark.parametrize(
    "passing",
    [
        answer(429),
        answer(500, PROBLEM),
        answer(502),
        answer(503),
        answer(504),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
        httpx2.RemoteProtocolError("cut"),
    ],
    ids=str,
)
def test_what_passes_is_tried_again(passing: Any) -> None:
    """The same request, key and all, after a pause."""
    steps, value = drive(client._one(client.Task, POST, 3), passing, passing, answer(201, TASK))
    assert value.id == TASK["id"]
    assert [type(step) for step in steps] == [client._Call, client._Pause] * 2 + [client._Call]
    assert steps[0] is steps[2] is steps[4] is POST
    assert POST.headers["Idempotency-Key"] != client._post("/task", {}, None).headers["Idempotency-Key"]
    assert 0 <= steps[1].seconds <= 0.25
    assert 0 <= steps[3].seconds <= 0.5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422])
def test_what_is_wrong_is_said_at_once(status: int) -> None:
    """As an error that carries what the service says."""
    body = PROBLEM | {"status": status, "errors": [{"pointer": "/content", "detail": "is missing"}]}
    with pytest.raises(client.ApiError) as caught:
        drive(client._ask(CALL, 3), answer(status, body))
    error = caught.value
    assert (error.status, error.detail, error.errors) == (status, PROBLEM["detail"], [("/content", "is missing")])
    assert str(error) == f"{status} The task is not failed.; /content: is missing"
    assert isinstance(error, client.NotFoundError) == (status == 404)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'"x"', b"null", b"\xff"])
def test_an_answer_of_something_in_between_is_an_error_too(body: bytes) -> None:
    """A load balancer sends no problem+json."""
    with pytest.raises(client.ApiError) as caught:
        drive(client._ask(CALL, 0), httpx2.Response(502, content=body))
    assert str(caught.value) == "502 Bad Gateway"


def test_it_gives_up() -> None:
    """After so many tries, with the last error."""
    with pytest.raises(client.UnreachableError) as caught:
        drive(client._ask(CALL, 2), *[httpx2.ConnectError("refused")] * 3)
    assert isinstance(caught.value.__cause__, httpx2.ConnectError)


def test_it_waits_as_long_as_it_is_asked_to() -> None:
    """By Retry-After, unless that is longer than anybody would block for."""
    steps, _ = drive(client._ask(CALL, 2), answer(429, retry_after="7"), answer(200))
    assert 7 <= steps[1].seconds <= 8
    with pytest.raises(client.ApiError) as caught:
        drive(client._ask(CALL, 2), answer(429, retry_after="61"))
    assert caught.value.retry_after == 61
    steps, _ = drive(client._ask(CALL, 2), answer(503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT"), answer(200))
    assert steps[1].seconds <= 0.25


def test_a_retry_that_got_through_is_no_conflict() -> None:
    """Its answer was lost, so the second try finds a task that is not failed any more; the first try's 409 is one."""
    _, value = drive(client._retry("x", 2), httpx2.ReadError("cut"), answer(409, PROBLEM), answer(200, TASK))
    assert value.status == "pending"
    with pytest.raises(client.ApiError):
        drive(client._retry("x", 2), answer(409, PROBLEM))


def test_batches_are_as_large_as_a_request_may_be() -> None:
    """1,000 tasks, or 900 kB; what is too much for the service as it is set goes in halves, alone at last."""

    def run(tasks: list[client.NewTask], limit: int) -> tuple[list[int], list[Any]]:
        sizes: list[int] = []
        items: list[Any] = []
        reply = None
        flow = client._batch(tasks, 0)
        while True:
            try:
                step = flow.send(reply)
            except StopIteration:
                return sizes, items
            reply = None
            if isinstance(step, client._Item):
                items.append(step.value)
            else:
                sent = json.loads(step.body)
                made = [{"index": i, "task": TASK | {"content": task["content"]}} for i, task in enumerate(sent)]
                too_long = len(step.body) > limit
                reply = answer(413, PROBLEM | {"status": 413}) if too_long else answer(201, {"items": made})
                sizes.append(len(sent))

    assert run([], 10)[0] == []
    sizes, items = run([{"content": number} for number in range(2_001)], 2**20)
    assert sizes == [1_000, 1_000, 1]
    assert [item.content for item in items] == list(range(2_001))
    sizes, items = run([{"content": "x" * 300_000} for _ in range(4)], 2**20)
    assert sizes == [2, 2]
    sizes, items = run([{"content": "a"}, {"content": "b" * 200}, {"content": "c"}], 150)
    assert sizes == [3, 1, 2, 1, 1]
    assert [isinstance(item, client.Task) for item in items] == [True, False, True]
    assert items[1].status == 413


def test_an_item_that_is_refused_concerns_no_other() -> None:
    """It comes in its place."""
    wrong = {"index": 0, "error": {"status": 422, "detail": "No.", "errors": [{"pointer": "/kind", "detail": "what"}]}}
    steps, _ = drive(
        client._batch([{"content": 1}, {"content": 2}], 0), answer(207, {"items": [wrong, {"index": 1, "task": TASK}]})
    )
    refused, made = steps[1].value, steps[2].value
    assert (refused.status, refused.errors) == (422, [("/kind", "what")])
    assert made.id == TASK["id"]


def test_pages_are_followed() -> None:
    """With the same filter, until there is no next; an empty page is not the last."""
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    flow = client._list(client.Filters(status=["failed", "canceled"], created_after=at, content={"customer": "17"}), 0)
    pages = ({"tasks": [TASK], "next": "c1"}, {"tasks": [], "next": "c2"}, {"tasks": [TASK], "next": None})
    steps, _ = drive(flow, *(answer(200, page) for page in pages))
    calls = [step for step in steps if isinstance(step, client._Call)]
    assert len(steps) == 5
    query = [
        *(("limit", "200"), ("status", "failed"), ("status", "canceled")),
        *(("created_after", "2026-11-22T12:00:00+00:00"), ("content.customer", "17")),
    ]
    assert [list(call.params) for call in calls] == [query, [*query, ("cursor", "c1")], [*query, ("cursor", "c2")]]


def test_events_go_on_where_they_broke_off() -> None:
    """Whatever breaks a stream: the next one begins after the last event that was seen; 204 is an end."""

    def event(version: int, **fields: Any) -> httpx2.ServerSentEvent:
        return httpx2.ServerSentEvent("task", json.dumps(TASK | {"version": version} | fields), str(version))

    stream = client._Stream(httpx2.Response(200), None)
    flow = client._events(client.Task, "/task/x", 2)
    steps, _ = drive(
        flow,
        *(
            httpx2.ConnectError("refused"),
            stream,
            httpx2.ServerSentEvent(retry=3000),
            event(1),
            httpx2.ReadError("cut"),
        ),
        *(answer(503), stream, event(2), None),
        *(stream, None),
        answer(204),
    )
    opened = [step.call.headers.get("Last-Event-ID") for step in steps if isinstance(step, client._Open)]
    assert opened == [None, None, "1", "1", "2", "2"]
    assert [step.value.version for step in steps if isinstance(step, client._Item)] == [1, 2]
    pauses = [step.seconds for step in steps if isinstance(step, client._Pause)]
    assert pauses[0] >= 1
    assert all(pause >= 3 for pause in pauses[1:])
    steps, _ = drive(client._events(client.Task, "/task/x", 1), stream, event(1), event(2, status="completed"))
    assert steps[-1].value.has_ended
    with pytest.raises(client.NotFoundError):
        drive(client._events(client.Task, "/task/x", 1), answer(404))


def test_what_a_newer_service_says_is_no_harm() -> None:
    """Nor what an older one does not say."""
    task = client._read(client.Task, TASK | {"colour": "green"})
    assert task.created_at == datetime(2024, 10, 28, 8, 4, 8, 990161, UTC)
    assert task.history == ()
    full = client._read(
        client.Task,
        TASK
        | {
            "history": [{"code": "timeout", "message": "m", "attempt": 1, "at": TASK["created_at"], "new": 1}],
            "progress": {"done": 1, "total": None, "message": "x"},
            "content": {"at": "not a time", "progress": 7},
        },
    )
    assert full.history[0].at == task.created_at
    assert full.progress == client.Progress(1, None, "x")
    assert full.content == {"at": "not a time", "progress": 7}


@pytest.mark.parametrize("wrong", ["", ".", ".."])
def test_what_can_be_no_id_leaves_the_path_alone(wrong: str) -> None:
    """And what might be one is quoted."""
    with pytest.raises(ValueError, match="is no id"):
        client._at("task", wrong)
    assert client._at("task", "../health?x=1#y") == "/task/..%2Fhealth%3Fx%3D1%23y"


def test_what_is_no_json_is_not_sent() -> None:
    """NaN, and times that could be any."""
    with pytest.raises(ValueError, match="JSON"):
        client._post("/task", {"content": float("nan")}, None)
    with pytest.raises(ValueError, match="time zone"):
        client._new_task({"content": 1, "run_at": datetime(2026, 1, 1)})  # noqa: DTZ001 - that is the point
    assert client._new_task({"content": None, "kind": None}) == {"content": None}


@pytest.mark.parametrize("key", ["", "a\r\nb", "é", 'a"b', "a\\b", "x" * 251])
def test_a_key_that_cannot_be_sent_is_refused(key: str) -> None:
    """Before anything is sent, and not after some tries."""
    with pytest.raises(ValueError, match="idempotency_key"):
        client._post("/task", {"content": 1}, key)
