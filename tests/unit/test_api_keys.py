"""KEYS_FILE: what it may say, the one line for what it may not, and how a key gets into it."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.core.api_keys import digest, load_keys
from app.core.caller import Caller, Role
from app.core.errors import SettingsError
from app.keys import PREFIX, add_key

ROOT = Path(__file__).parents[2]
DIGEST = "ab" * 32
GOOD = f"""
[[key]]
name = "billing"
role = "write"
tenant = "acme"
rate_limit = 600
sha256 = "{DIGEST}"
created = 2026-11-22T08:00:00Z
"""
OTHER = GOOD.replace("abab", "cdcd")

# The text, and the part of the line after the file's name.
WRONG = {
    "not TOML": ("tm_0123", "is not TOML (at end of document)"),
    "not TOML, and no place": ("a = {", "is not TOML"),
    "something else": ('secret = "tm_0123"', "it may have nothing but [[key]] tables"),
    "a table": ('[key.billing]\nrole = "read"', "a key must be a table of its own, as [[key]]"),
    "no table": ("key = [1]", "key 1: must be a table, as [[key]]"),
    "nothing": ("[[key]]", "key 1: name: has 1 to 100 letters"),
    "no name": (GOOD.replace('name = "billing"', ""), "key 1: name: has"),
    "name with a space": (GOOD.replace("billing", "bill ing"), "key 1: name: has"),
    "name too long": (GOOD.replace("billing", "b" * 101), "key 1: name: has"),
    "name is a number": (GOOD.replace('"billing"', "7"), "key 1: name: has"),
    "tenant is empty": (GOOD.replace("acme", ""), "key 1: tenant: has"),
    "tenant is a list": (GOOD.replace('"acme"', "[]"), "key 1: tenant: has"),
    "role": (GOOD.replace("write", "owner"), "key 1: role: must be one of read, write, admin"),
    "role is a list": (GOOD.replace('"write"', "[]"), "key 1: role: must be"),
    "no role": (GOOD.replace('role = "write"', ""), "key 1: role: must be"),
    "the key itself": (GOOD.replace(DIGEST, "tm_0123"), "key 1: sha256: must be the SHA-256 of a key"),
    "capitals": (GOOD.replace(DIGEST, DIGEST.upper()), "key 1: sha256: must be"),
    "no sha256": (GOOD.replace("sha256", "#"), "key 1: sha256: must be"),
    "limit below 0": (GOOD.replace("600", "-1"), "key 1: rate_limit: must be an integer from 0 to 100000000"),
    "limit too high": (GOOD.replace("600", "100000001"), "key 1: rate_limit: must be"),
    "limit is a bool": (GOOD.replace("600", "true"), "key 1: rate_limit: must be"),
    "limit is a float": (GOOD.replace("600", "1.0"), "key 1: rate_limit: must be"),
    "created": (GOOD.replace("2026-11-22T08:00:00Z", "7"), "key 1: created: must be a date"),
    "unknown field": (GOOD + 'tm_0123 = "x"', "key 1: has a field that a key has not"),
    "twice": (GOOD + GOOD, "key 2: its sha256 is there twice"),
    "another tenant": (GOOD + OTHER.replace("acme", "umbrella"), "the keys of billing must agree in role, tenant"),
    "another role": (GOOD + OTHER.replace("write", "read"), "the keys of billing must agree in role, tenant"),
    "another limit": (GOOD + OTHER.replace("600", "6"), "the keys of billing must agree in role, tenant"),
    "three": (GOOD + OTHER + GOOD.replace("abab", "efef"), "billing has more than 2 keys"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the file is to be."""
    return tmp_path / "keys.toml"


def test_the_example_in_the_default_file_is_right(file: Path) -> None:
    """Without its number signs, and with a digest."""
    text = (ROOT / "config" / "keys.toml").read_text().partition("#\n")[2]
    file.write_text(re.sub("(?m)^# ", "", text).replace("...", DIGEST))
    (key,) = load_keys(str(file)).values()
    assert key.caller == Caller("billing", Role.WRITE, "acme")
    assert key.rate_limit == 600


def test_keys_are_read(file: Path) -> None:
    """Two of one name, and one with what must be there alone."""
    file.write_text(GOOD + OTHER + f'[[key]]\nname = "ops"\nrole = "admin"\nsha256 = "{"01" * 32}"\n')
    keys = load_keys(str(file))
    billing = Caller("billing", Role.WRITE, "acme")
    assert [(key.caller, key.rate_limit) for key in keys.values()] == [
        (billing, 600),
        (billing, 600),
        (Caller("ops", Role.ADMIN, None), None),
    ]
    assert all(at == key.digest for at, key in keys.items())


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_one_line(file: Path, text: str, message: str) -> None:
    """With the file and the place, and without what is there: it may be a key."""
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_keys(str(file))
    line = str(caught.value)
    assert line.startswith(f"{file}: {message}")
    assert "tm_0123" not in line
    assert line.isprintable()


def test_a_file_that_cannot_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not there, a folder, not text; only the default one may be missing."""
    for name, reason in ((str(file), "is not there"), (str(file.parent), "can't be read: Is a directory")):
        with pytest.raises(SettingsError, match=f"KEYS_FILE: {re.escape(name)} {reason}"):
            load_keys(name)
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="can't be read: it is not UTF-8"):
        load_keys(str(file))
    monkeypatch.chdir(file.parent)
    assert load_keys("config/keys.toml") == {}


def test_a_key_is_made_and_shown_once(file: Path) -> None:
    """As `make key` does it, with nothing but Python: the key on stdout, its hash in the file, comments kept."""
    file.write_text("# Ours.\n")
    file.chmod(0o640)
    made = _make_key(file, "billing", "--role", "read", "--tenant", "acme")
    key = made.stdout.removesuffix("\n")
    assert made.returncode == 0
    assert re.fullmatch(PREFIX + "[0-9a-f]{64}", key)
    assert "a key for billing: read, tenant acme" in made.stderr
    assert key not in made.stderr
    text = file.read_text()
    assert text.startswith("# Ours.\n")
    assert key not in text
    assert load_keys(str(file))[digest(key.encode())].caller == Caller("billing", Role.READ, "acme")
    assert file.stat().st_mode & 0o777 == 0o640
    assert os.listdir(file.parent) == [file.name]  # noqa: PTH208 - names are what it is about
    refused = _make_key(file, "bill ing")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("taskmill: NAME has 1 to 100 letters")
    assert file.read_text() == text


def test_a_second_key_is_like_the_first(file: Path) -> None:
    """To change from one to the next; and there is no third."""
    file.write_text(GOOD)
    key, words = add_key(str(file), "billing", "", "")
    assert words == "a second key for billing: write, tenant acme"
    keys = load_keys(str(file))
    assert len(keys) == 2
    assert keys[digest(key.encode())].rate_limit == 600
    with pytest.raises(SettingsError, match="billing has 2 keys already: delete the older one"):
        add_key(str(file), "billing", "", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "", ""), "NAME has 1 to 100 letters"),
        (('x"\n', "", ""), "NAME has"),
        (("x" * 101, "", ""), "NAME has"),
        (("ops", "owner", ""), "ROLE must be one of read, write, admin"),
        (("ops", "ADMIN", ""), "ROLE must be"),
        (("ops", "", "a b"), "TENANT has"),
        (("billing", "admin", ""), "billing has a key of another role or tenant"),
        (("billing", "", "umbrella"), "billing has a key of another role or tenant"),
    ],
)
def test_a_key_that_cannot_be(file: Path, arguments: tuple[str, str, str], message: str) -> None:
    """The file is as it was."""
    file.write_text(GOOD)
    with pytest.raises(SettingsError, match=message):
        add_key(str(file), *arguments)
    assert file.read_text() == GOOD


def test_a_broken_file_is_not_added_to(file: Path) -> None:
    """Nor a folder that is not there."""
    file.write_text("[[key]]\n")
    with pytest.raises(SettingsError, match="key 1: name"):
        add_key(str(file), "ops", "", "")
    assert file.read_text() == "[[key]]\n"
    with pytest.raises(SettingsError, match=r"KEYS_FILE: can't write .*: No such file or directory"):
        add_key(str(file.parent / "none" / "keys.toml"), "ops", "", "")


def test_a_file_is_made_and_a_link_stays_one(file: Path) -> None:
    """Readable by the user of a container."""
    link = file.with_name("link.toml")
    link.symlink_to(file.name)
    add_key(str(link), "ops", "admin", "")
    assert link.is_symlink()
    assert len(load_keys(str(file))) == 1
    assert file.stat().st_mode & 0o777 == 0o644


def test_two_at_once_are_both_kept(file: Path) -> None:
    """Neither writes over the other."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add_key(str(file), f"service-{number}", "", ""), range(40)))
    assert len(load_keys(str(file))) == 40


def _make_key(file: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-IS",
        "-c",
        "import runpy, sys; sys.path.insert(0, '.'); runpy.run_module('app.keys', run_name='__main__', alter_sys=True)",
    ]
    environment = {"KEYS_FILE": str(file)}
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
