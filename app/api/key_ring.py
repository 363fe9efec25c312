"""The API keys that are valid now, as their file has them."""

import asyncio
import hmac
from contextlib import suppress
from pathlib import Path

from app.core.api_keys import ApiKey, Keys, digest, load_keys
from app.core.config import Settings
from app.core.errors import SettingsError
from app.core.events import Emit, KeysGone, KeysTakenUp, KeysUnreadable

LOOK_SECONDS = 0.5  # a change is taken up after two looks

_Mark = tuple[int, int, int] | None


class KeyRing:
    """Looks up keys, and follows the file.

    Once there were keys there must be one: a file that is emptied or removed while the process runs makes every key
    invalid, and opens nothing. Only a start without keys, as of a service that has none, asks for none.
    """

    def __init__(self, settings: Settings, emit: Emit) -> None:
        """Raises SettingsError where the file is wrong."""
        self._file = settings.keys_file
        self._emit = emit
        self._seen = self._taken = self._mark()  # before reading, so that no change after it is missed
        self._keys: Keys = load_keys(self._file)
        self.is_on = bool(self._keys)

    def find(self, key: bytes) -> ApiKey | None:
        """The key, None where it is not valid.

        How long a look at the dictionary takes says nothing that helps: nobody can choose the digests of his guesses.
        """
        wanted = digest(key)
        found = self._keys.get(wanted)
        return found if found is not None and hmac.compare_digest(found.digest, wanted) else None

    async def follow(self) -> None:
        """Take up changes of the file, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        mark = self._mark()
        # Only what has stood since the last look: an editor may be in the middle of writing it.
        if mark == self._seen and mark != self._taken:
            self._taken = mark
            self._take_up(is_there=mark is not None)
        self._seen = mark

    def _take_up(self, *, is_there: bool) -> None:
        had_keys = bool(self._keys)
        try:
            self._keys = load_keys(self._file) if is_there else {}
        except SettingsError as error:
            self._emit(KeysUnreadable(str(error)))
            return
        self.is_on = self.is_on or bool(self._keys)
        if self._keys:
            self._emit(KeysTakenUp(len(self._keys)))
        elif had_keys:
            self._emit(KeysGone(self._file))

    def _mark(self) -> _Mark:
        """What differs when the file is another; None where there is none."""
        with suppress(OSError):
            status = Path(self._file).stat()
            return status.st_mtime_ns, status.st_size, status.st_ino
        return None
