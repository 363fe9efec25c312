"""The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header)."""

import re
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from starlette.types import Scope

from app.api.caller import caller
from app.api.errors import ProblemError
from app.api.route import Headers
from app.core.idempotency import IdempotencyKey

REPLAYED: Headers = ((b"idempotent-replayed", b"true"),)
LONGEST_KEY = 255

# A string as structured fields have it (RFC 9651, section 3.3.3), or the bare key, as many clients send it.
_QUOTED = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(rb"[!#-~][ -~]*")
_ESCAPE = re.compile(rb'\\(["\\])')

PARAMETER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A string of the client's own, new for each request that it means: sent again with the same key and "
    "the same body, the request makes nothing new and gets the first answer, with the header `Idempotent-Replayed`. "
    "Kept for IDEMPOTENCY_HOURS, for each API key and path.",
    "schema": {"type": "string", "pattern": r'^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-~][ -~]{0,254})$'},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}
REPLAYED_HEADER: dict[str, Any] = {
    "Idempotent-Replayed": {
        "description": "`true`: this is the answer to an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


def sent_key(scope: Scope) -> bytes | None:
    """The key of a request; None where it has none. Raises ProblemError 400 for what is no key."""
    values = [value for name, value in scope["headers"] if name == b"idempotency-key"]
    if not values:
        return None
    if len(values) > 1:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The header Idempotency-Key is there more than once.")
    value = values[0].strip()
    quoted = _QUOTED.fullmatch(value)
    key: bytes = _ESCAPE.sub(rb"\1", quoted[1]) if quoted else value
    if not key:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The Idempotency-Key is empty.")
    if not quoted and not _BARE.fullmatch(value):
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "An Idempotency-Key is printable ASCII, in double quotes or without any around it."
        )
    if len(key) > LONGEST_KEY:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The Idempotency-Key is longer than {LONGEST_KEY} characters.")
    return key


def idempotency_key(scope: Scope, body: bytes) -> IdempotencyKey | None:
    """What the request's key comes to; None where it has none. Raises ProblemError 400 for what is no key."""
    key = sent_key(scope)
    return None if key is None else IdempotencyKey(key_digest(scope, key), sha256(body).digest())


def key_digest(scope: Scope, key: bytes) -> bytes:
    """One for each caller, path and key: neither a path nor a key has a NUL in it."""
    return sha256(b"\0".join((caller(scope).name.encode(), scope["path"].encode(), key))).digest()
