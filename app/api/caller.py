"""Who sent a request."""

from starlette.types import Scope

from app.core.caller import EVERYBODY, Caller

CALLER = "taskmill.caller"


def caller(scope: Scope) -> Caller:
    """The holder of the request's key; everybody where there are no keys."""
    found: Caller = scope.get(CALLER, EVERYBODY)
    return found
