"""An answer to a request that is still being sent."""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LINGER_SECONDS = 5.0


class LingeringResponse(Response):
    """Answers at once, then throws away what still comes, for a while, before the connection is closed.

    To close a socket with unread bytes in it resets the connection, and most clients then report the reset in place of
    the answer (RFC 9112, section 9.6).
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as in Response
        """Send the answer and take in the rest of the request."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b""})
