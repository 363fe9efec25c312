"""The headers of the request: the caller's, and those by which a receiver knows a task, its trace and its sender."""

from collections.abc import Iterable
from uuid import UUID

from standardwebhooks import Webhook

from app.handler_api.signing import signature
from app.handler_api.trace import child_of
from app.handlers.http.payload import HttpCall


def request_headers(
    call: HttpCall, body: bytes | None, task_id: UUID, trace: str | None, signers: Iterable[Webhook]
) -> dict[str, str]:
    """All headers but those of the connection. `trace`: the task's traceparent."""
    headers = dict(call.headers)
    if call.content_type is not None:
        headers |= {} if _has(headers, "content-type") else {"Content-Type": call.content_type}
    return headers | {
        "Idempotency-Key": str(task_id),
        "traceparent": child_of(trace, task_id),
        **signature(str(task_id), body or b"", signers),
    }


def _has(headers: dict[str, str], name: str) -> bool:
    return any(each.lower() == name for each in headers)
