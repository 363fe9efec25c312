"""What the kind `http` sends."""

import base64
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from uuid_utils.compat import uuid7

from app.handler_api.outcome import Done
from tests.integration.http_kind.conftest import Call
from tests.support.receiver import Receiver

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 24).decode()
STRANGE_SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()


async def test_what_is_sent(call: Call, receiver: Receiver) -> None:
    """Method, target, headers and body as the content says, and the task's id as the Idempotency-Key."""
    task_id = uuid7()
    target = "/a/%2F/../b?x=%20&y=1"
    headers = {"Authorization": "Bearer x", "x-tab": "a\tb", "User-Agent": "mine"}
    url = f"http://127.0.0.1:{receiver.port}{target}#part"
    content = {"url": url, "method": "PUT", "headers": headers, "body": [1]}
    assert isinstance(await call(content, task_id=task_id), Done)
    (heard,) = receiver.heard
    assert (heard.method, heard.target, heard.body) == ("PUT", target, b"[1]")
    assert {name: heard.headers.getall(name) for name in headers} == {name: [headers[name]] for name in headers}
    assert heard.headers.getall("Idempotency-Key") == [str(task_id)]
    assert heard.headers.getall("Content-Type") == ["application/json"]
    assert heard.headers.getall("Content-Length") == ["3"]
    assert heard.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert "Transfer-Encoding" not in heard.headers
    assert not any(name.lower().startswith("webhook-") for name in heard.headers)


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"])
async def test_every_method_without_a_body(call: Call, receiver: Receiver, method: str) -> None:
    """Nothing is sent, and nothing is said of a type."""
    assert isinstance(await call({"method": method}), Done)
    (heard,) = receiver.heard
    assert (heard.method, heard.body) == (method, b"")
    assert "Content-Type" not in heard.headers
    assert "Transfer-Encoding" not in heard.headers


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"é": [1.5, None, "\U0001f600", 1e22]}, {}),
        ("<a>é</a>", {"Content-Type": "application/xml"}),
        ("", {"Content-Type": "text/plain"}),
        (None, {}),
        ("x" * 500_000, {}),
    ],
)
async def test_a_receiver_can_verify_who_sends(call: Call, receiver: Receiver, body: Any, headers: Any) -> None:
    """Over exactly the bytes that came, by the library of the standard, with the old secret and the new one."""
    task_id = uuid7()
    await call({"body": body, "headers": headers}, task_id=task_id, secret=f"{SECRET},{OLD_SECRET}")
    (heard,) = receiver.heard
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(heard.body, dict(heard.headers), json_parse=False)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(heard.body + b" ", dict(heard.headers), json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(STRANGE_SECRET).verify(heard.body, dict(heard.headers), json_parse=False)
    assert heard.headers["webhook-id"] == str(task_id)


async def test_a_request_without_a_body_is_signed(call: Call, receiver: Receiver) -> None:
    """As one with an empty body."""
    await call({"method": "GET"}, secret=SECRET)
    Webhook(SECRET).verify(b"", dict(receiver.heard[0].headers), json_parse=False)


async def test_the_trace_goes_on(call: Call, receiver: Receiver) -> None:
    """With another parent at each attempt."""
    for _ in range(2):
        await call(traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")
    traces = [heard.headers.getall("traceparent") for heard in receiver.heard]
    assert all(len(trace) == 1 and trace[0].startswith(f"00-{'ab' * 16}-") for trace in traces)
    assert traces[0] != traces[1]
    assert "cd" * 8 not in str(traces)
