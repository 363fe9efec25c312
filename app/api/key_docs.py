"""What the description at /openapi.json says about API keys and rate limits: the same for every call that needs one."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from app.api.errors import MEDIA_TYPE
from app.api.gate import UNAUTHORIZED
from app.api.key_ring import KeyRing
from app.api.route import BytesRoute, problems

_SCHEMES = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "Needed where the service has keys.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key, in another header."},
}
_TEXT = {"type": "string"}
_HEADERS: dict[HTTPStatus, dict[str, Any]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"description": "The scheme, Bearer.", "schema": _TEXT}},
    HTTPStatus.TOO_MANY_REQUESTS: {
        "Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}},
        "RateLimit": {"description": 'What is left, as `"default";r=0;t=1`.', "schema": _TEXT},
        "RateLimit-Policy": {"description": 'The limit, as `"default";q=600;w=60`.', "schema": _TEXT},
    },
}


def describe_keys(app: FastAPI, keys: KeyRing) -> None:
    """Add to the description what each call takes: a key with a role, or none while the service has no keys."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        schema = describe()
        schema["components"]["securitySchemes"] = _SCHEMES
        for route in app.routes:
            if isinstance(route, BytesRoute) and route.include_in_schema:
                for method in route.methods or ():
                    _describe(schema["paths"][route.path][method.lower()], route, is_on=keys.is_on)
        return schema

    app.openapi = described  # type: ignore[method-assign]


def _describe(operation: dict[str, Any], route: BytesRoute, *, is_on: bool) -> None:
    role = route.role.name.lower()
    nothing: list[dict[str, list[str]]] = [] if is_on else [{}]
    operation["security"] = [*nothing, *({scheme: [role]} for scheme in _SCHEMES)]
    descriptions = {
        HTTPStatus.UNAUTHORIZED: UNAUTHORIZED,
        HTTPStatus.FORBIDDEN: f"The API key may not do this: it takes the role {role}.",
        HTTPStatus.TOO_MANY_REQUESTS: "The key has made its requests of this minute; or PostgreSQL is behind.",
    }
    answers = operation["responses"]
    for status, answer in problems(_example_path(answers, route), descriptions).items():
        answer["headers"] = _HEADERS.get(HTTPStatus(int(status)), {})
        answers.setdefault(str(status), answer)


def _example_path(answers: dict[str, Any], route: BytesRoute) -> str:
    """That of the errors which the call documents itself."""
    for answer in answers.values():
        example = answer.get("content", {}).get(MEDIA_TYPE, {}).get("example")
        if example:
            return str(example["instance"])
    return route.path
