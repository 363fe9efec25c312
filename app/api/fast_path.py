"""The fast path to the hot calls: past what the framework does with each request between its middleware and a route.

What that is worth: docs/decisions/0012-hot-calls-take-a-fast-path.md.
"""

import re
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.route import BytesRoute

_PARAMETER = re.compile(r"\{\w+\}")
_WITH_ID = re.compile(r"(/\w+/)([^/]{36})(/\w+)?")  # no name of a call is as long as an id

Handler = Callable[[Request, Exception], Awaitable[Response]]


class FastPath:
    """Calls these routes, whose paths have one id at most and whose answers are no streams; the router gets the rest.

    Errors are answered by the application's own handlers, as those of all other calls.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BytesRoute]) -> None:
        self._app = app
        self._routes = {
            (method, _PARAMETER.sub("{}", route.path)): route for route in routes for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        route = self._find(scope) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        try:
            await route.app(scope, receive, send)
        except Exception as error:
            handler = _handler(scope, error)
            if handler is None:
                raise
            response = await handler(Request(scope), error)
            await response(scope, receive, send)

    def _find(self, scope: Scope) -> BytesRoute | None:
        """The route, which the scope then has, with its parameters, as the router would leave it."""
        method, path = scope["method"], scope["path"]
        values: tuple[str, ...] = ()
        route = self._routes.get((method, path))
        if route is None:
            parts = _WITH_ID.fullmatch(path)
            if parts is None:
                return None
            route = self._routes.get((method, f"{parts[1]}{{}}{parts[3] or ''}"))
            if route is None:
                return None
            values = (parts[2],)
        scope["route"] = route
        scope["path_params"] = dict(zip(route.param_convertors, values, strict=True))
        return route


def _handler(scope: Scope, error: Exception) -> Handler | None:
    """The application's for this kind of error; None where it has only the one for all, which is further out."""
    handlers: dict[type[BaseException], Handler] = scope["app"].exception_handlers
    kinds = type(error).__mro__
    return next((handlers[kind] for kind in kinds[: kinds.index(Exception)] if kind in handlers), None)
