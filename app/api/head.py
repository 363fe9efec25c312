"""HEAD for whatever answers GET (RFC 9110, section 9.3.2): some load balancers check health with it."""

from starlette.types import ASGIApp, Receive, Scope, Send

_MARK = "taskmill.is_head"


def is_head(scope: Scope) -> bool:
    """Whether nobody reads the body, so that there is nothing to wait for."""
    return _MARK in scope


class HeadAsGet:
    """Has a HEAD request answered as GET; the server leaves out the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", _MARK: True}
        await self._app(scope, receive, send)
