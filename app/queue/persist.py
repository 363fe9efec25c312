"""Write what may be written twice, over a connection that broke."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.core.errors import DatabaseBusyError, DatabaseUnavailableError

# For a connection that broke, not for an outage. A statement may take 2 s more, and a request may wait behind a flush
# that fails: 2 x (0.5 + 2) s is what it may take until its own answer.
RETRY_SECONDS = 0.5
_PAUSE_SECONDS = 0.05

ResultT = TypeVar("ResultT")


async def persist(write: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """What `write` returns; called again where PostgreSQL gave no answer, so it must find what it wrote before.

    Raises DatabaseUnavailableError where PostgreSQL stayed away; whether anything was written is then unknown. Only if
    no try was sent is it a DatabaseBusyError.
    """
    give_up = time.monotonic() + RETRY_SECONDS
    doubt: DatabaseUnavailableError | None = None
    while True:
        try:
            return await write()
        except DatabaseUnavailableError as error:
            if doubt is None and not isinstance(error, DatabaseBusyError):
                doubt = error
            if time.monotonic() >= give_up:
                # An earlier try may have been committed: that this one was not sent must not deny it.
                raise doubt or error from None
            await asyncio.sleep(_PAUSE_SECONDS)
