"""API keys as their file has them: KEYS_FILE. The standard library only, so that `make key` needs nothing else."""

import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from app.core.caller import Caller, Role
from app.core.errors import SettingsError

DEFAULT_FILE = "config/keys.toml"
ACTIVE = 2  # keys of one name: while clients change from one to the next
ROLES = {role.name.lower(): role for role in Role}
LABEL_RULE = "has 1 to 100 letters, digits, dots, dashes and underscores, and begins with a letter or a digit"

_LABEL = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DIGEST = re.compile("[0-9a-f]{64}")
_HIGHEST_LIMIT = 100_000_000
_FIELDS = {"name", "role", "tenant", "sha256", "rate_limit", "created"}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, as far as this service knows it. `rate_limit`: requests a minute, 0 is none; None is RATE_LIMIT's."""

    digest: bytes
    caller: Caller
    rate_limit: int | None


Keys = Mapping[bytes, ApiKey]


def digest(key: bytes) -> bytes:
    """What is kept of a key. It has 256 random bits, so no salt and no slow hash is needed."""
    return hashlib.sha256(key).digest()


def is_label(text: str) -> bool:
    """Whether a key or a tenant can have this name."""
    return _LABEL.fullmatch(text) is not None


def load_keys(file: str) -> Keys:
    """The keys in the file, by their digests.

    Without a file at the default place there are none. Raises SettingsError: one line that names the file, and each
    key and field that is wrong, and quotes nothing: somebody may have put the key itself there.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if file == DEFAULT_FILE:
            return {}
        raise SettingsError(f"KEYS_FILE: {_one_line(file)} is not there") from None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is not UTF-8"
        raise SettingsError(f"KEYS_FILE: {_one_line(file)} can't be read: {reason}") from None
    return parse_keys(text, file)


def parse_keys(text: str, file: str) -> Keys:
    """The keys in the text of a file. Raises SettingsError as load_keys."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        place = re.search(r"\(at [a-z0-9, ]+\)$", str(error))
        raise SettingsError(f"{_one_line(file)}: is not TOML {place[0] if place else ''}".rstrip()) from None
    wrong = ["it may have nothing but [[key]] tables"] if tables.keys() - {"key"} else []
    found = tables.get("key", [])
    if not isinstance(found, list):
        found, wrong = [], ["a key must be a table of its own, as [[key]]"]
    keys: dict[bytes, ApiKey] = {}
    for number, table in enumerate(found, 1):
        problems = list(_problems(table)) if isinstance(table, dict) else ["must be a table, as [[key]]"]
        wrong += [f"key {number}: {problem}" for problem in problems]
        if not problems:
            key = _key(table)
            if key.digest in keys:
                wrong.append(f"key {number}: its sha256 is there twice")
            keys[key.digest] = key
    wrong += _contradictions(keys)
    if wrong:
        raise SettingsError(f"{_one_line(file)}: {'; '.join(wrong)}")
    return keys


def _problems(table: dict[str, Any]) -> list[str]:
    """What is wrong with the table of one key."""
    problems = ["has a field that a key has not"] if table.keys() - _FIELDS else []
    for field in ("name", "tenant"):
        value = table.get(field)
        if (value is not None or field == "name") and not (isinstance(value, str) and is_label(value)):
            problems.append(f"{field}: {LABEL_RULE}")
    if not (isinstance(table.get("role"), str) and table["role"] in ROLES):
        problems.append(f"role: must be one of {', '.join(ROLES)}")
    if not (isinstance(table.get("sha256"), str) and _DIGEST.fullmatch(table["sha256"])):
        problems.append("sha256: must be the SHA-256 of a key, as 64 hexadecimal digits in small letters")
    limit = table.get("rate_limit", 0)
    if type(limit) is not int or not 0 <= limit <= _HIGHEST_LIMIT:
        problems.append(f"rate_limit: must be an integer from 0 to {_HIGHEST_LIMIT}")
    if not isinstance(table.get("created", ""), date | str):
        problems.append("created: must be a date")
    return problems


def _key(table: dict[str, Any]) -> ApiKey:
    caller = Caller(table["name"], ROLES[table["role"]], table.get("tenant"))
    return ApiKey(bytes.fromhex(table["sha256"]), caller, table.get("rate_limit"))


def _contradictions(keys: Keys) -> list[str]:
    """What is wrong between the keys: those of one name are one caller, who has one limit and sees one tenant."""
    callers = {(key.caller, key.rate_limit) for key in keys.values()}
    differ = [name for name, count in Counter(caller.name for caller, _ in callers).items() if count > 1]
    names = Counter(key.caller.name for key in keys.values())
    many = [name for name, count in names.items() if count > ACTIVE]
    return [f"the keys of {name} must agree in role, tenant and rate_limit" for name in differ] + [
        f"{name} has more than {ACTIVE} keys" for name in many
    ]


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
