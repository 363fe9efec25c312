"""What parses as JSON, but would not come back from the table as it was sent (RFC 7493)."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

DEEPEST = 64  # levels within a field of the body
LARGEST_INTEGER = 2**53 - 1  # RFC 7493: beyond it, JSON readers disagree on the number

Path = tuple[str | int, ...]
Place = tuple["Place", str | int, int] | None  # the place around it, the name in there, the depth; None is the document


def unstorable(document: Any) -> Iterator[tuple[Path, str]]:
    """Each place in a parsed document that can't be kept, and why.

    Without recursion, since the depth is the client's; and a path is spelled out only for what is wrong: to carry one
    to each of half a million values takes seconds, in which this process answers nobody.
    """
    stack: list[tuple[Place, Any]] = [(None, document)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, str) and "\0" in value:
            yield _path(place), "contains the NUL character"
        elif isinstance(value, float) and not isfinite(value):
            yield _path(place), "is not a number that JSON has"
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            detail = f"is an integer beyond ±{LARGEST_INTEGER}: JSON readers disagree on it; send it as a string"
            yield _path(place), detail
        elif isinstance(value, dict | list):
            depth = 0 if place is None else place[2] + 1  # of the body itself: none
            if depth > DEEPEST:
                yield _path(place)[:3], f"is nested more than {DEEPEST} deep"
                return
            children = value.items() if isinstance(value, dict) else enumerate(value)
            for key, child in children:
                if isinstance(key, str) and "\0" in key:
                    yield _path(place), "has a name with the NUL character"
                stack.append(((place, key, depth), child))


def _path(place: Place) -> Path:
    path: list[str | int] = []
    while place is not None:
        place, name, _ = place
        path.append(name)
    return tuple(reversed(path))
