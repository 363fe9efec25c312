"""The keys that are valid, while their file changes."""

from pathlib import Path

import pytest

from app.api.key_ring import KeyRing
from app.core.errors import SettingsError
from app.core.events import Event, KeysGone, KeysTakenUp, KeysUnreadable
from tests.conftest import quick_settings
from tests.support.keys import KeysFile


class Ring:
    """A ring, its file, and what it said."""

    def __init__(self, file: KeysFile) -> None:
        self.said: list[Event] = []
        self.ring = KeyRing(quick_settings("postgresql://h/d", "redis://h", keys_file=str(file.path)), self.said.append)

    def look(self) -> list[Event]:
        """Look twice, as it does within a second; what it said."""
        self.said.clear()
        self.ring._look()
        self.ring._look()
        return list(self.said)

    def knows(self, key: str) -> bool:
        """Whether the key is valid."""
        return self.ring.find(key.encode()) is not None


@pytest.fixture
def file(tmp_path: Path) -> KeysFile:
    """A file without keys."""
    file = KeysFile(tmp_path / "keys.toml")
    file.path.touch()
    return file


def test_without_keys_nobody_is_asked(file: KeysFile) -> None:
    """Until there is one."""
    ring = Ring(file)
    assert not ring.ring.is_on
    assert ring.look() == []
    key = file.add("billing")
    assert not ring.knows(key)
    assert ring.look() == [KeysTakenUp(1)]
    assert ring.ring.is_on
    assert ring.knows(key)
    assert not ring.knows(f"{key}x")
    assert ring.look() == []


def test_a_key_is_replaced_by_the_next(file: KeysFile) -> None:
    """Both are valid until the older one is deleted."""
    old = file.add("billing")
    ring = Ring(file)
    new = file.add("billing")
    assert ring.look() == [KeysTakenUp(2)]
    assert ring.knows(old)
    assert ring.knows(new)
    head, _, last = file.path.read_text().rpartition("[[key]]")
    assert head
    file.write(f"[[key]]{last}")
    assert ring.look() == [KeysTakenUp(1)]
    assert not ring.knows(old)
    assert ring.knows(new)


def test_a_broken_file_changes_nothing_and_is_said_once(file: KeysFile) -> None:
    """And what is right again is taken up."""
    key = file.add("billing")
    ring = Ring(file)
    good = file.path.read_text()
    file.write("[[key]]")
    (said,) = ring.look()
    assert isinstance(said, KeysUnreadable)
    assert ring.look() == []
    assert ring.knows(key)
    file.write(good)
    assert ring.look() == [KeysTakenUp(1)]


@pytest.mark.parametrize("how", ["emptied", "removed"])
def test_a_file_without_keys_opens_nothing(file: KeysFile, how: str) -> None:
    """No key is valid any more, and one is asked for; until there are keys again."""
    key = file.add("billing")
    ring = Ring(file)
    good = file.path.read_text()
    if how == "emptied":
        file.write("# nothing\n")
    else:
        file.path.unlink()
    assert ring.look() == [KeysGone(str(file.path))]
    assert ring.ring.is_on
    assert not ring.knows(key)
    assert ring.look() == []
    file.write(good)
    assert ring.look() == [KeysTakenUp(1)]
    assert ring.knows(key)


def test_a_file_that_is_being_written_is_left_alone(file: KeysFile) -> None:
    """What is there at one look and different at the next was half of it."""
    key = file.add("billing")
    ring = Ring(file)
    good = file.path.read_text()
    file.path.write_text("")  # as an editor begins
    ring.ring._look()
    file.path.write_text(f"{good}\n# Changed.\n")
    ring.ring._look()
    assert ring.said == []
    assert ring.knows(key)
    ring.ring._look()
    assert ring.said == [KeysTakenUp(1)]


def test_a_broken_file_at_the_start(file: KeysFile) -> None:
    """There are no keys of before."""
    file.write("[[key]]")
    with pytest.raises(SettingsError, match="key 1: name"):
        Ring(file)
