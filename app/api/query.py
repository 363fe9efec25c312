"""Query strings, read strictly: what is not understood is refused, and not left aside."""

import re
from collections.abc import Collection, Sequence
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from app.api.errors import ProblemError
from app.utils.json_pointer import json_pointer

DETAIL = "The query is not what this call takes."
_LONGEST = 8_192
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

Pairs = Sequence[tuple[str, str]]


def refused(name: str, detail: str) -> ProblemError:
    """What is wrong with a parameter."""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, DETAIL, [(json_pointer([name]), detail)])


def read_query(query_string: bytes) -> Pairs:
    """Names and values, in order. Raises ProblemError where that is no UTF-8, holds a NUL or is endless."""
    if len(query_string) > _LONGEST:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"The query is longer than {_LONGEST:,} characters.")
    pairs = []
    for part in filter(None, query_string.decode("latin-1").split("&")):
        name, _, value = part.partition("=")
        pairs.append((_decoded(name), _decoded(value)))
    return pairs


def single(pairs: Pairs, names: Collection[str]) -> dict[str, str]:
    """Of these parameters, the values. Raises ProblemError where one is there twice or empty."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in names:
            if name in found:
                raise refused(name, "is there more than once")
            if not value:
                raise refused(name, "is empty")
            found[name] = value
    return found


def page_limit(limit: str | None, usual: int, most: int) -> int:
    """How many a page may have. Raises ProblemError."""
    if limit is None:
        return usual
    is_number = limit.isascii() and limit.isdecimal() and len(limit) <= len(str(most))
    if not is_number or not 1 <= int(limit) <= most:
        raise refused("limit", f"is a number from 1 to {most}")
    return int(limit)


def _decoded(text: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The query has a % without two hexadecimal digits.")
    try:
        decoded = unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The query is not UTF-8.") from None
    if "\0" in decoded:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The query contains the NUL character.")
    return decoded
