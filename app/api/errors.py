"""Every error as `application/problem+json` (RFC 9457). The one place that maps errors to HTTP answers."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from app.api.lingering import LingeringResponse
from app.core.errors import (
    DatabaseBusyError,
    DatabaseUnavailableError,
    InvalidPayloadError,
    InvalidScheduleError,
    KeyReusedError,
    NotDeletableError,
    NotRetryableError,
    RejectedRowError,
    ScheduleDeclaredError,
    UnknownKindError,
)
from app.utils.json_pointer import json_pointer

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
BUSY = "All connections to PostgreSQL are in use; try again after Retry-After."
MOST_ERRORS = 10  # named in one answer
_LONGEST_PATH = 200

Errors = Sequence[tuple[str, str]]


class ProblemError(Exception):
    """An answer that is an error. `errors`: JSON pointers into the request's body, and what is wrong there."""

    def __init__(
        self, status: HTTPStatus, detail: str, errors: Errors = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


def problem(request: Request, error: ProblemError) -> Response:
    """The answer for an error. Nothing that the client sent is in it but the path and the names of fields."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.status.phrase,
        "status": int(error.status),
        "detail": error.detail,
        "instance": quote(request.scope["path"][:_LONGEST_PATH]),  # a URI reference: no control character gets in
    }
    if error.errors:
        body["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in error.errors[:MOST_ERRORS]]
    is_unread = error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    response = LingeringResponse if is_unread else Response
    return response(json.dumps(body), error.status, error.headers, MEDIA_TYPE)


def from_framework(error: HTTPException) -> ProblemError:
    """What the router itself answers: no such path, or not with this method."""
    status = HTTPStatus(error.status_code)
    details = {
        HTTPStatus.NOT_FOUND: "There is nothing at this path.",
        HTTPStatus.METHOD_NOT_ALLOWED: "This path does not take this method; the Allow header says which it takes.",
    }
    return ProblemError(status, details.get(status, status.description or status.phrase), headers=error.headers)


def from_database_unavailable(_: DatabaseUnavailableError) -> ProblemError:
    """500 is the contract's word for it; the request may be sent again."""
    return ProblemError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The database does not answer, so nothing is known to have happened. Try again.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def from_database_busy(_: DatabaseBusyError) -> ProblemError:
    """It answers, but others. A call of several statements may have done a part, so that is not denied."""
    return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, BUSY, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def from_key_reused(error: KeyReusedError) -> ProblemError:
    """An Idempotency-Key of another request."""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


def from_unknown_kind(error: UnknownKindError) -> ProblemError:
    """A kind without a handler."""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), [("/kind", str(error))])


def from_invalid_payload(error: InvalidPayloadError) -> ProblemError:
    """Content that the kind does not take."""
    problems = [(json_pointer(["content"]) + pointer, detail) for pointer, detail in error.problems]
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The content does not fit the kind of task.", problems)


def from_invalid_schedule(error: InvalidScheduleError) -> ProblemError:
    """A cron expression or a time zone that there is not."""
    problems = [(json_pointer([field]), detail) for field, detail in error.problems]
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The schedule has no times at which it would run.", problems)


def from_schedule_declared(error: ScheduleDeclaredError) -> ProblemError:
    """A change of what only the configuration may change."""
    return ProblemError(HTTPStatus.CONFLICT, str(error))


def from_not_retryable(error: NotRetryableError) -> ProblemError:
    """A retry of what has not failed."""
    return ProblemError(HTTPStatus.CONFLICT, str(error))


def from_not_deletable(error: NotDeletableError) -> ProblemError:
    """A deletion of what is still needed."""
    return ProblemError(HTTPStatus.CONFLICT, str(error))


def from_rejected_row(error: RejectedRowError) -> ProblemError:
    """Content that no check of ours caught and PostgreSQL refused."""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), [("/content", str(error))])


def from_anything_else(_: Exception) -> ProblemError:
    """A fault of ours. uvicorn logs the traceback; the client learns nothing of it."""
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong in this service.")


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error, framework-made ones included, as problem+json."""
    _add(app, ProblemError, lambda error: error)
    _add(app, HTTPException, from_framework)
    _add(app, DatabaseUnavailableError, from_database_unavailable)
    _add(app, DatabaseBusyError, from_database_busy)
    _add(app, KeyReusedError, from_key_reused)
    _add(app, UnknownKindError, from_unknown_kind)
    _add(app, InvalidPayloadError, from_invalid_payload)
    _add(app, InvalidScheduleError, from_invalid_schedule)
    _add(app, ScheduleDeclaredError, from_schedule_declared)
    _add(app, NotRetryableError, from_not_retryable)
    _add(app, NotDeletableError, from_not_deletable)
    _add(app, RejectedRowError, from_rejected_row)
    _add(app, Exception, from_anything_else)


def _add(app: FastAPI, kind: type[Exception], to_problem: Callable[[Any], ProblemError]) -> None:
    async def handle(request: Request, error: Exception) -> Response:
        answer = to_problem(error)
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers |= _allow(request)
        return problem(request, answer)

    handler: Callable[[Request, Exception], Awaitable[Response]] = handle
    app.add_exception_handler(kind, handler)


def _allow(request: Request) -> dict[str, str]:
    """The header for all routes of this path; the router itself names only the first one's methods."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.matches(request.scope)[0] != Match.NONE]
    # A path without variables is no other's: what would be an id there is none.
    here = [route for route in here if route.path == request.scope["path"]] or here
    methods = {method for route in here for method in route.methods or ()}
    return {"Allow": ", ".join(sorted(methods))} if methods else {}
