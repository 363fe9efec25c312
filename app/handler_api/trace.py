"""The trace of a task in the calls that it makes (W3C Trace Context)."""

import secrets
from uuid import UUID


def child_of(trace: str | None, task_id: UUID) -> str:
    """The traceparent of a call, in the task's trace.

    Without one, the task's id is the trace's, so that all attempts are in one; sampled, since a receiver that decides
    as its parent did would never record it otherwise.
    """
    trace_id, flags = (task_id.hex, 1) if trace is None else (trace[3:35], int(trace[53:55], 16) & 1)
    return f"00-{trace_id}-{secrets.randbits(64) or 1:016x}-{flags:02x}"
