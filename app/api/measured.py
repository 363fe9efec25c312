"""How long requests take."""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable
from http import HTTPStatus
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.metrics import Times

_METHODS = frozenset({"DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"})
_OTHER = "other"
_FLUSH_SECONDS = 1.0


class RequestTimes:
    """Gathers the times of requests, and passes them on once a second, which costs a fraction of one by one."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._new: dict[tuple[str, str | None, int], list[float]] = {}

    def add(self, scope: Scope, status: int, seconds: float) -> None:
        """One request was answered."""
        route = scope.get("route")
        key = (scope["method"], None if route is None else route.path, status)
        new = self._new.get(key)
        if new is None:
            if not self._new:
                asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
            new = self._new[key] = [0.0] * (len(Times.bounds) + 2)
        new[bisect_left(Times.bounds, seconds)] += 1
        new[-1] += seconds

    def flush(self) -> None:
        """Pass on what there is. Paths that are none of ours, and methods that are nobody's, are one series each."""
        new, self._new = self._new, {}
        for (method, route, status), (*counts, seconds) in new.items():
            series = (
                method if method in _METHODS else _OTHER,
                route or _OTHER,
                f"{status // 100}xx",
            )
            self._times.labels(*series).add(counts, seconds)


class Measured:
    """Takes the time of each request until its answer begins: a stream counts as what it takes to open."""

    def __init__(self, app: ASGIApp, times: RequestTimes) -> None:
        self._app = app
        self._times = times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        is_answered = False

        def measured(message: Message) -> Awaitable[None]:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                self._times.add(scope, message["status"], perf_counter() - began)
            return send(message)

        try:
            await self._app(scope, receive, measured)
        except Exception:
            if not is_answered:  # as it will be, further out
                self._times.add(scope, HTTPStatus.INTERNAL_SERVER_ERROR, perf_counter() - began)
            raise
