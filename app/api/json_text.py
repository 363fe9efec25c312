"""JSON text of single values, for answers that are written by hand."""

from datetime import datetime
from uuid import UUID

from app.api.schemas import to_json


def quoted(value: UUID | None) -> str:
    """Of an id."""
    return "null" if value is None else f'"{value}"'


def text(value: str | None) -> str:
    """Of a string."""
    return "null" if value is None else to_json(value)


def instant(time: datetime | None) -> str | None:
    """RFC 3339 with microseconds and Z, of a time in UTC; for what is written as JSON later on."""
    return None if time is None else f"{time.isoformat(timespec='microseconds')[:26]}Z"


def utc(time: datetime | None) -> str:
    """RFC 3339 with microseconds and Z; PostgreSQL's driver gives UTC."""
    return "null" if time is None else f'"{time.isoformat(timespec="microseconds")[:26]}Z"'
