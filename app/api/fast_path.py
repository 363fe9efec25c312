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
        self._fixed: dict[tuple[str, str], BytesRoute] = {}
        self._with_id: dict[tuple[str, str, str], BytesRoute] = {}  # by what is before and after the id
        for route in routes:
            before, *after = _PARAMETER.split(route.path)
            for method in route.methods or ():
                if after:
                    self._with_id[method, before, after[0]] = route
                else:
                    self._fixed[method, before] = route

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
            # A batch's frames refer to the error that it failed with, and the error to them: with all their bodies
            # they would wait for the collector, which seldom comes.
            error.__traceback__ = None

    def _find(self, scope: Scope) -> BytesRoute | None:
        """The route, which the scope then has, with its parameters, as the router would leave it."""
        method, path = scope["method"], scope["path"]
        route = self._fixed.get((method, path))
        values: tuple[str, ...] = ()
        if route is None and (parts := _WITH_ID.fullmatch(path)):
            route = self._with_id.get((method, parts[1], parts[3] or ""))
            values = (parts[2],)
        if route is not None:
            scope["route"] = route
            scope["path_params"] = dict(zip(route.param_convertors, values, strict=True))
        return route


def _handler(scope: Scope, error: Exception) -> Handler | None:
    """The application's for this kind of error; None where it has only the one for all, which is further out."""
    handlers: dict[type[BaseException], Handler] = scope["app"].exception_handlers
    kinds = type(error).__mro__
    return next((handlers[kind] for kind in kinds[: kinds.index(Exception)] if kind in handlers), None)
