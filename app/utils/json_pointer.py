"""JSON pointers (RFC 6901)."""

from collections.abc import Iterable

_LONGEST_NAME = 64


def json_pointer(path: Iterable[str | int]) -> str:
    """`("a", 0, "b/c")` → `/a/0/b~1c`; the whole document is the empty string. Overlong names are cut."""
    return "".join("/" + str(part)[:_LONGEST_NAME].replace("~", "~0").replace("/", "~1") for part in path)
