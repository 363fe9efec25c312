"""How the queue speaks to Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

CALL_SECONDS = 1.0  # after which a call has failed
SILENCE_SECONDS = 0.5  # after a failure nothing is sent for so long: PostgreSQL holds all that the hints say
# A connection that is closed between two of redis-py's writes is a RuntimeError of uvloop's.
TROUBLE = (RedisError, OSError, TimeoutError, RuntimeError)


def connect(url: str, seconds: float | None = None) -> Redis:
    """A pool that connects when it is first used. `seconds`: redis-py's own timeout of an answer.

    That has each command sent by a task of its own, which waits its turn behind all that is ready, as the answer to a
    create. Where a task waits to be started by the command, use answered_within instead.
    """
    return Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=CALL_SECONDS,
        # redis-py retries by itself, ten times, also what is not idempotent: one RPUSH became four. Never here.
        retry=Retry(NoBackoff(), 0),
        # By protocol 3 over TCP a pool of redis-py 8.1 hands out connections whose other end is gone: long after an
        # outage each of them fails a call (https://github.com/redis/redis-py/issues/4252).
        protocol=2,
    )


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError, in words; redis-py then closes the connection, whose answer would be taken for another's."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
