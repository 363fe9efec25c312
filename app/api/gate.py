"""Lets requests in: whose key is it, and has the key requests left. What a key may do, the routes know."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.caller import CALLER
from app.api.errors import ProblemError, from_anything_else, problem
from app.api.key_ring import KeyRing
from app.queue.rate_limit import RateLimiter, Taken

# For those who restart processes or send them requests, and for those who learn how to ask.
OPEN_PATHS: Final = frozenset({"/health", "/livez", "/readyz", "/docs", "/openapi.json"})
OPEN_FOLDER: Final = "/docs/"

LONGEST_KEY = 200  # ours have 67 characters
UNAUTHORIZED = "Send one valid API key, as X-API-Key or as Authorization: Bearer."
_CHALLENGE: Final[Mapping[str, str]] = {"WWW-Authenticate": 'Bearer realm="taskmill"'}


class Gate:
    """Around all of the API. Without keys, everybody passes."""

    def __init__(self, app: ASGIApp, keys: KeyRing, limiter: RateLimiter, rate_limit: int) -> None:
        self._app = app
        self._keys = keys
        self._limiter = limiter
        self._rate_limit = rate_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 429."""
        if not self._keys.is_on or scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        credential = _credential(scope)
        key = None if credential is None else self._keys.find(credential)
        if key is None:
            await problem(Request(scope), _unauthorized())(scope, receive, send)
            return
        scope[CALLER] = key.caller
        limit = self._rate_limit if key.rate_limit is None else key.rate_limit
        if limit:
            await self._pass_limited(scope, receive, send, limit)
        else:
            await self._app(scope, receive, send)

    async def _pass_limited(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        taken = await self._limiter.take(scope[CALLER].name, limit)
        headers = _rate_limit_headers(limit, taken)
        is_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        if not taken.is_allowed:
            await problem(Request(scope), _too_many(limit, taken))(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if not is_begun:  # the framework would answer as well, but past this function, so without the headers
                await problem(Request(scope), from_anything_else(error))(scope, receive, send_with_headers)
            raise


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _credential(scope: Scope) -> bytes | None:
    """The one key in the headers; None where there is none, or more than one (RFC 6750, section 2).

    An Authorization that is no Bearer, as of a proxy in between, is not ours.
    """
    found: list[bytes] = []
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            found.append(value.strip())
        elif name == b"authorization":
            scheme, _, token = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                found.append(token.strip())
    return found[0] if len(found) == 1 and len(found[0]) <= LONGEST_KEY else None


def _unauthorized() -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, UNAUTHORIZED, headers=_CHALLENGE)


def _too_many(limit: int, taken: Taken) -> ProblemError:
    detail = f"The key has made its {limit:,} requests a minute. Try again after Retry-After."
    headers = {"Retry-After": str(taken.seconds)}
    return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, detail, headers=headers)


def _rate_limit_headers(limit: int, taken: Taken) -> list[tuple[bytes, bytes]]:
    """As in draft-ietf-httpapi-ratelimit-headers-11: `r` requests in the next `t` seconds, of `q` in `w`."""
    return [
        (b"ratelimit-policy", b'"default";q=%d;w=60' % limit),
        (b"ratelimit", b'"default";r=%d;t=%d' % (taken.left, taken.seconds)),
    ]
