"""What a GET says besides the path: which version the client has, and how long it would wait for another."""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Scope

from app.api.query import refused

LONGEST_WAIT = 60
_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_WAIT = re.compile("[0-9]{1,2}")
_PREFERRED_WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?', re.ASCII | re.IGNORECASE)
_BAD_WAIT = f"is given once, in whole seconds from 0 to {LONGEST_WAIT}"


class Conditions(NamedTuple):
    """`wait`: seconds. `tags`: what If-None-Match names, None without it. `preferred`: the wait is a preference."""

    wait: int
    tags: frozenset[str] | None
    preferred: bool

    def has(self, version: int) -> bool:
        """Whether the client has this version already (RFC 9110, section 13.1.2: compared as weak tags)."""
        return self.tags is not None and (str(version) in self.tags or "*" in self.tags)


def etag(version: int) -> tuple[bytes, bytes]:
    """The header. Weak: equal versions are the same state, if not the same bytes in every release."""
    return b"etag", b'W/"%d"' % version


def conditions(scope: Scope) -> Conditions | None:
    """What the request says; None where it says nothing, as most do. Raises ProblemError: 422.

    Unknown parameters are ignored, as they have always been here: some clients add one against caches.
    """
    tags: list[str] = []
    preferences: list[str] = []
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            tags.append(value.decode("latin-1"))
        elif name == b"prefer":
            preferences.append(value.decode("latin-1"))
    query = scope["query_string"]
    if not (tags or preferences or query):
        return None
    wait = _wait_in(query) if query else None
    preferred = None if wait is not None else _preferred_wait(preferences)
    return Conditions(wait or preferred or 0, _listed(tags) if tags else None, preferred is not None)


def header(scope: Scope, wanted: bytes) -> str | None:
    """The last header of this name, in small letters."""
    found = None
    for name, value in scope["headers"]:
        if name == wanted:
            found = value
    return None if found is None else found.decode("latin-1")


def _wait_in(query: bytes) -> int | None:
    found = [value for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if name == "wait"]
    if not found:
        return None
    if len(found) > 1 or not _WAIT.fullmatch(found[0]) or int(found[0]) > LONGEST_WAIT:
        raise refused("wait", _BAD_WAIT)
    return int(found[0])


def _preferred_wait(preferences: list[str]) -> int | None:
    """RFC 7240: the first counts, what is no such preference is ignored, and too long is as long as we can."""
    for preference in ",".join(preferences).split(","):
        if match := _PREFERRED_WAIT.fullmatch(preference):
            return min(int(match[1]), LONGEST_WAIT)
    return None


def _listed(tags: list[str]) -> frozenset[str]:
    """The opaque parts; `*` for whatever there is, which no version is called."""
    text = ",".join(tags)
    return frozenset(["*"]) if text.strip() == "*" else frozenset(_TAG.findall(text))
