"""What an Idempotency-Key comes to."""

from typing import NamedTuple


class IdempotencyKey(NamedTuple):
    """Digests. Requests with one `key` make something once; with another `fingerprint` they are not the same request.

    `key`: of who sent it, to which path, and the key itself. `fingerprint`: of the body.
    """

    key: bytes
    fingerprint: bytes
