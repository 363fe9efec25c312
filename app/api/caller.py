"""Who sent a request."""

from http import HTTPStatus

from starlette.types import Scope

from app.api.errors import ProblemError
from app.core.caller import EVERYBODY, Caller, Role

CALLER = "taskmill.caller"


def caller(scope: Scope) -> Caller:
    """The holder of the request's key; everybody where there are no keys."""
    found: Caller = scope.get(CALLER, EVERYBODY)
    return found


def require_no_tenant(scope: Scope, detail: str) -> None:
    """For what tells of all tenants: raises ProblemError 403 where the caller is one tenant's."""
    who = caller(scope)
    if who.role is not Role.ADMIN and who.tenant is not None:
        raise ProblemError(HTTPStatus.FORBIDDEN, detail)
