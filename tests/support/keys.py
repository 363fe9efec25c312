"""A file of API keys, and the keys themselves."""

import os
from pathlib import Path

from app.core.api_keys import digest
from app.keys import add_key


class KeysFile:
    """KEYS_FILE of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, str] = {}

    def add(self, name: str, role: str = "", tenant: str = "") -> str:
        """Make a key; it is returned, and the one that `headers` sends for this name."""
        self._keys[name], _ = add_key(str(self.path), name, role, tenant)
        return self._keys[name]

    def key(self, name: str) -> str:
        """The key of this name."""
        return self._keys[name]

    def digest(self, name: str) -> str:
        """What the file has of it."""
        return digest(self._keys[name].encode()).hex()

    def headers(self, name: str) -> dict[str, str]:
        """What a request with the key of this name sends."""
        return {"X-API-Key": self._keys[name]}

    def write(self, text: str) -> None:
        """Replace the file as an editor does."""
        other = self.path.with_suffix(".new")
        other.write_text(text)
        os.replace(other, self.path)  # noqa: PTH105 - says what it does
