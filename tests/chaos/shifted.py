"""A clock of this process that is wrong: for hosts without libfaketime."""

import datetime as dt
import os
import time
from uuid import UUID

import uuid_utils
import uuid_utils.compat

_real_time, _real_time_ns = time.time, time.time_ns


def shift(seconds: float) -> None:
    """Move all that tells the time of day here; what measures durations goes on as it does.

    Before anything is imported that takes these by name.
    """

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Shifted":
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> "Shifted":
            return cls.fromtimestamp(time.time(), dt.UTC).replace(tzinfo=None)

    def uuid7() -> UUID:
        milliseconds = int(time.time() * 1_000).to_bytes(6)
        rest = bytearray(os.urandom(10))
        rest[0], rest[2] = 0x70 | rest[0] & 0x0F, 0x80 | rest[2] & 0x3F
        return UUID(bytes=milliseconds + bytes(rest))

    time.time = lambda: _real_time() + seconds
    time.time_ns = lambda: _real_time_ns() + round(seconds * 1e9)
    dt.datetime = Shifted  # type: ignore[misc]
    uuid_utils.compat.uuid7 = uuid7  # type: ignore[assignment]
    uuid_utils.uuid7 = uuid7  # type: ignore[assignment]
