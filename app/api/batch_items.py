"""Checks the items of a batch together: each is a new task, and what is wrong with one concerns no other.

What is the same work for all is done once for all of them, by pydantic's core and not by Python: one process takes half
as many tasks as PostgreSQL does only that way (bench/batches.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from app.api.body import from_validation
from app.api.callback_url import CallbackUrls
from app.api.errors import MOST_ERRORS, ProblemError, from_invalid_payload, from_unknown_kind
from app.api.new_task_schemas import NewTaskBody
from app.core.errors import InvalidPayloadError, UnknownKindError
from app.core.storable import DEEPEST, unstorable
from app.handlers import Catalog
from app.utils.json_pointer import json_pointer

_BODIES = TypeAdapter(list[NewTaskBody])

# With all digits made the same, a long number is found without a regular expression, which takes ten times as long.
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 16


@dataclass(slots=True)
class CheckedItems:
    """The items that are good, column by column, by their places; and what is wrong with the others.

    `bodies`: those of which more is said than kind and content.
    """

    kinds: dict[int, str] = field(default_factory=dict)
    contents: dict[int, str] = field(default_factory=dict)
    bodies: dict[int, NewTaskBody] = field(default_factory=dict)
    problems: dict[int, ProblemError] = field(default_factory=dict)

    def refuse(self, place: int, problem: ProblemError) -> None:
        """Take out what is wrong."""
        self.problems[place] = problem
        for column in (self.kinds, self.contents, self.bodies):
            column.pop(place, None)


class ItemChecker:
    """Checks as POST /task does."""

    def __init__(self, catalog: Catalog, default_kind: str, callback_urls: CallbackUrls) -> None:
        self._catalog = catalog
        self._callback_urls = callback_urls
        self._default_kind = default_kind

    def check(self, items: Sequence[Any]) -> CheckedItems:
        """The items, parsed; one that is a ProblemError already stays what it is."""
        found = CheckedItems()
        values: dict[int, Any] = {}
        others: dict[int, Any] = {}
        for place, item in enumerate(items):
            if type(item) is dict and "content" in item:
                kind = item.get("kind", self._default_kind)
                if len(item) == 1 or (len(item) == 2 and kind.__class__ is str and "kind" in item):  # noqa: PLR2004
                    values[place] = item["content"]
                    found.kinds[place] = kind
                    continue
            others[place] = item
        if others:
            self._check_others(others, found, values)
        texts = {place: to_json(value) for place, value in values.items()}
        found.contents = {place: text.decode() for place, text in texts.items()}
        for place in _suspicious(texts):
            problems = [(json_pointer(path), detail) for path, detail in islice(unstorable(items[place]), MOST_ERRORS)]
            if problems:
                detail = "A value can't be stored faithfully."
                found.refuse(place, ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, problems))
        self._check_kinds(found)
        for place, body in list(found.bodies.items()):
            try:
                self._callback_urls.check(body.callback_url)
            except ProblemError as problem:
                found.refuse(place, problem)
        return found

    def _check_others(self, items: dict[int, Any], found: CheckedItems, values: dict[int, Any]) -> None:
        """Those of which more is said, and those that are wrong."""
        for place, item in items.items():
            if isinstance(item, ProblemError):
                found.problems[place] = item
        texts = {place: to_json(item) for place, item in items.items() if place not in found.problems}
        try:
            bodies = dict(zip(texts, _BODIES.validate_json(b"[%b]" % b",".join(texts.values())), strict=True))
        except ValidationError:
            bodies = {}
            for place, text in texts.items():
                try:
                    bodies[place] = NewTaskBody.model_validate_json(text)
                except ValidationError as error:
                    found.problems[place] = from_validation(error, text)
        for place, body in bodies.items():
            found.kinds[place] = self._default_kind if body.kind is None else body.kind
            found.bodies[place] = body
            values[place] = body.content

    def _check_kinds(self, found: CheckedItems) -> None:
        by_kind: dict[str, list[int]] = {}
        for place, kind in found.kinds.items():
            by_kind.setdefault(kind, []).append(place)
        for kind, places in by_kind.items():
            self._check_kind(kind, places, found)

    def _check_kind(self, kind: str, places: Sequence[int], found: CheckedItems) -> None:
        """Whether the kind takes these contents."""
        contents = found.contents
        try:
            handler = self._catalog.askable(kind)
        except UnknownKindError as error:
            for place in places:
                found.refuse(place, from_unknown_kind(error))
            return
        if handler.payload.takes([contents[place] for place in places]):
            return
        for place in places:
            try:
                handler.payload.parse(contents[place])
            except InvalidPayloadError as error:
                found.refuse(place, from_invalid_payload(error))


def _suspicious(texts: dict[int, bytes]) -> Iterable[int]:
    """The places of JSON texts that may not come back from the table as they were sent; few but those are looked at."""
    is_clean = not _may_be_wrong(b",".join(texts.values()))
    return [
        place
        for place, text in texts.items()
        if text.count(b"[") + text.count(b"{") > DEEPEST or not (is_clean or not _may_be_wrong(text))
    ]


def _may_be_wrong(text: bytes) -> bool:
    """As pydantic's core writes it: NUL is escaped, and no number but a long one is beyond 2^53."""
    return b"\\u0000" in text or b"NaN" in text or b"Infinity" in text or _LONG_NUMBER in text.translate(_DIGITS)
