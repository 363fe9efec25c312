"""The header `traceparent`, which ties a task to the trace of the request that made it (W3C Trace Context)."""

import re

from starlette.types import Scope

_FORMAT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(scope: Scope) -> str | None:
    """Its value; None where it is missing or, as the standard has it, where it is malformed."""
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return str(value.decode()) if _FORMAT.fullmatch(value) else None
    return None
