"""JSON pointers, by the examples of RFC 6901."""

import pytest

from app.utils.json_pointer import json_pointer


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ([], ""),
        (["foo"], "/foo"),
        (["foo", 0], "/foo/0"),
        ([""], "/"),
        (["a/b"], "/a~1b"),
        (["m~n"], "/m~0n"),
        (["~1"], "/~01"),
        (["c%d", "e^f", " ", 'k"l'], '/c%d/e^f/ /k"l'),
        (["ä", 12], "/ä/12"),
    ],
)
def test_names_are_joined_and_escaped(path: list[str | int], pointer: str) -> None:
    """A slash is ~1 and a tilde ~0, in this order of undoing."""
    assert json_pointer(path) == pointer


def test_overlong_names_are_cut() -> None:
    """A name is the client's, so an answer has no more than 64 characters of it, counted before they are escaped."""
    assert json_pointer(["a" * 64]) == "/" + "a" * 64
    assert json_pointer(["a" * 65, "b"]) == "/" + "a" * 64 + "/b"
    assert json_pointer(["/" * 10_000]) == "/" + "~1" * 64
