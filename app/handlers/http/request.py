"""The headers of the request: the caller's, and those by which a receiver knows a task, its trace and its sender."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from standardwebhooks import Webhook

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
        **_signature(str(task_id), body or b"", signers),
    }


def child_of(trace: str | None, task_id: UUID) -> str:
    """The traceparent of this call, in the task's trace (W3C Trace Context).

    Without one, the task's id is the trace's, so that all attempts are in one; sampled, since a receiver that decides
    as its parent did would never record it otherwise.
    """
    trace_id, flags = (task_id.hex, 1) if trace is None else (trace[3:35], int(trace[53:55], 16) & 1)
    return f"00-{trace_id}-{secrets.randbits(64) or 1:016x}-{flags:02x}"


def _signature(message_id: str, body: bytes, signers: Iterable[Webhook]) -> dict[str, str]:
    """Over the id, the time of this attempt, and exactly the bytes that are sent (Standard Webhooks)."""
    now = datetime.now(UTC)
    signatures = [signer.sign(message_id, now, body.decode()) for signer in signers]
    if not signatures:
        return {}
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _has(headers: dict[str, str], name: str) -> bool:
    return any(each.lower() == name for each in headers)
