"""The content of a task, as a type that owns its kind."""

from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Self, Unpack

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from app.core.errors import InvalidPayloadError
from app.utils.json_pointer import json_pointer

_MESSAGES = {"union_tag_invalid": "names no variant that there is"}  # pydantic's own message has the value in it


class Payload(BaseModel):
    """What a kind of task takes as `content`. Subclass it as `class CsvImport(Payload, kind="csv_import")`.

    Validated when a task is posted and again when it runs.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: ClassVar[str]

    def __init_subclass__(cls, *, kind: str, **config: Unpack[ConfigDict]) -> None:
        """Take the kind from the class statement."""
        super().__init_subclass__(**config)
        if not kind.isidentifier():
            raise ValueError(f"a kind is an identifier, as in csv_import: {kind!r}")
        cls.kind = kind

    @classmethod
    def parse(cls, content: str) -> Self:
        """The payload in this JSON text. Raises InvalidPayloadError, which says where and what, but not the value."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise InvalidPayloadError(_problems(error)) from None

    @classmethod
    def takes(cls, contents: Sequence[str]) -> bool:
        """Whether `parse` would take each of these JSON texts, checked all at once."""
        try:
            _list_of(cls).validate_json(f"[{','.join(contents)}]")
        except ValidationError:
            return False
        return True


@cache
def _list_of(payload: type[Payload]) -> TypeAdapter[list[Payload]]:
    return TypeAdapter(list[payload])  # type: ignore[valid-type]


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [(json_pointer(_path(detail["loc"])), _MESSAGES.get(detail["type"], detail["msg"])) for detail in details]


def _path(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Without pydantic's own mark for what is wrong with a name, and not with its value."""
    return location[:-1] if location[-1:] == ("[key]",) else location
