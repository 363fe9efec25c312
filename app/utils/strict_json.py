"""JSON text of what a handler hands over."""

from typing import Any

from pydantic_core import from_json, to_json


def strict_json(value: Any) -> str:
    """As RFC 8259 has it. Raises ValueError, which says why, where it can't be: NaN, infinities, other objects.

    Dates, UUIDs, bytes in UTF-8, dataclasses and pydantic models become what pydantic makes of them.
    """
    text = to_json(value)
    if b"NaN" in text or b"Infinity" in text:  # may be: the words may stand in strings
        from_json(text, allow_inf_nan=False)
    return text.decode()
