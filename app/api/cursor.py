"""Cursors: where the next page of a list begins, signed, so that only what a page has answered is taken."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64Error
from hashlib import sha256
from http import HTTPStatus
from uuid import UUID

from app.api.errors import ProblemError
from app.db.engine import Database
from app.queue.secret import read_secret

_PART = 16  # bytes of each: the id before which the page begins, a digest of the filter, a signature of both
LENGTH = 4 * _PART  # in base64


class Cursors:
    """Writes and reads them. The key is read once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._key: bytes | None = None

    async def write(self, before: UUID, wanted: bytes) -> str:
        """The cursor of the page that begins before this id. `wanted`: what is listed; it must be the same then."""
        told = before.bytes + _digest(wanted)
        return urlsafe_b64encode(told + await self._signature(told)).decode()

    async def read(self, cursor: str, wanted: bytes) -> UUID:
        """The id before which the page begins. Raises ProblemError."""
        try:
            told = urlsafe_b64decode(cursor) if len(cursor) == LENGTH and cursor.isascii() else b""
        except NotBase64Error:
            told = b""
        signed, signature = told[: 2 * _PART], told[2 * _PART :]
        if urlsafe_b64encode(told).decode() != cursor or not hmac.compare_digest(
            signature, await self._signature(signed)
        ):
            raise _refused("is not the `next` of any page")
        if not hmac.compare_digest(signed[_PART:], _digest(wanted)):
            raise _refused("is the `next` of a page with another filter: send the same filter with it")
        return UUID(bytes=signed[:_PART])

    async def _signature(self, told: bytes) -> bytes:
        if self._key is None:
            self._key = await read_secret(self._database, "cursor")
        return hmac.digest(self._key, told, "sha256")[:_PART]


def _digest(wanted: bytes) -> bytes:
    return sha256(wanted).digest()[:_PART]


def _refused(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"The cursor {detail}.", [("/cursor", detail)])
